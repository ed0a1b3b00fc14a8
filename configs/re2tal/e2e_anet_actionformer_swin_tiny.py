"""Video Swin-T + ActionFormer on ActivityNet-1.3, from raw video. Published: 36.89 % mean mAP on 4 GPUs.

torchrun --standalone --nproc_per_node=4 tools/train.py configs/re2tal/e2e_anet_actionformer_swin_tiny.py
"""

from pathlib import Path

from re2tal.config.presets import activitynet
from re2tal.networks.backbones import SwinConfig

config = activitynet(
    name="e2e_actionformer_swin_tiny_frame768",
    backbone=SwinConfig(
        activation_checkpointing=True,
        drop_path=0.1,
        pretrained=Path(
            "pretrained/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth"
        ),
    ),
)
