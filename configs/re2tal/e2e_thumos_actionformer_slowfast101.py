"""SlowFast-101 + ActionFormer on THUMOS-14, from raw video. Published: 69.97 % mean mAP on 2 GPUs.

torchrun --standalone --nproc_per_node=2 tools/train.py configs/re2tal/e2e_thumos_actionformer_slowfast101.py
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import SlowFastConfig

config = thumos(
    name="e2e_actionformer_slowfast101_frame1024",
    backbone=SlowFastConfig(
        activation_checkpointing=True,
        pretrained=Path("pretrained/slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_20220818-9c0e09bd.pth"),
    ),
)
