"""Re2Swin-T + ActionFormer on THUMOS-14, from raw video. Published: 66.89 % mean mAP on 2 GPUs.

torchrun --standalone --nproc_per_node=2 tools/train.py configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import SwinConfig

config = thumos(
    name="re2tal_e2e_actionformer_swin_tiny_frame1024",
    backbone=SwinConfig(
        reversible=True,
        drop_path=0.2,
        pretrained=Path("pretrained/invswin-tiny-p244-w877_kinetics400_pre_k400_ft_e30.pth"),
    ),
)
