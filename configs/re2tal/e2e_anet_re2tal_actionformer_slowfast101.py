"""Re2SlowFast-101 + ActionFormer on ActivityNet-1.3, from raw video. Published: 37.55 % mean mAP on 4 GPUs.

torchrun --standalone --nproc_per_node=4 tools/train.py configs/re2tal/e2e_anet_re2tal_actionformer_slowfast101.py
"""

from pathlib import Path

from re2tal.config.presets import activitynet
from re2tal.networks.backbones import SlowFastConfig

config = activitynet(
    name="re2tal_e2e_actionformer_slowfast101_frame768",
    backbone=SlowFastConfig(
        reversible=True,
        pretrained=Path("pretrained/invslowfast101_k400_pre_k400_ft_e30.pth"),
    ),
)
