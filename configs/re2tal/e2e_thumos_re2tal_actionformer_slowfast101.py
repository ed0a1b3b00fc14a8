"""Re2SlowFast-101 + ActionFormer on THUMOS-14, from raw video. Published: 70.19 % mean mAP on 2 GPUs.

torchrun --standalone --nproc_per_node=2 tools/train.py configs/re2tal/e2e_thumos_re2tal_actionformer_slowfast101.py
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import SlowFastConfig

config = thumos(
    name="re2tal_e2e_actionformer_slowfast101_frame1024",
    backbone=SlowFastConfig(
        reversible=True,
        pretrained=Path("pretrained/invslowfast101_k400_pre_k400_ft_e30.pth"),
    ),
)
