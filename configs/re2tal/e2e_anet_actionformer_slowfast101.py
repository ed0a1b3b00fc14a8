"""SlowFast-101 + ActionFormer on ActivityNet-1.3, from raw video. Published: 37.35 % mean mAP on 4 GPUs.

torchrun --standalone --nproc_per_node=4 tools/train.py configs/re2tal/e2e_anet_actionformer_slowfast101.py
"""

from pathlib import Path

from re2tal.config.presets import activitynet
from re2tal.networks.backbones import SlowFastConfig

config = activitynet(
    name="e2e_actionformer_slowfast101_frame768",
    backbone=SlowFastConfig(
        activation_checkpointing=True,
        pretrained=Path("pretrained/slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_20220818-9c0e09bd.pth"),
    ),
)
