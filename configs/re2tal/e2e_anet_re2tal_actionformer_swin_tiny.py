"""Re2Swin-T + ActionFormer on ActivityNet-1.3, from raw video. Published: 36.47 % mean mAP on 4 GPUs.

torchrun --standalone --nproc_per_node=4 tools/train.py configs/re2tal/e2e_anet_re2tal_actionformer_swin_tiny.py
"""

from pathlib import Path

from re2tal.config.presets import activitynet
from re2tal.networks.backbones import SwinConfig

config = activitynet(
    name="re2tal_e2e_actionformer_swin_tiny_frame768",
    backbone=SwinConfig(
        reversible=True,
        drop_path=0.2,
        pretrained=Path("pretrained/invswin-tiny-p244-w877_kinetics400_pre_k400_ft_e30.pth"),
    ),
)
