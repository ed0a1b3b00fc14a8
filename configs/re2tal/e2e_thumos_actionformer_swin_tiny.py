"""Video Swin-T + ActionFormer on THUMOS-14, from raw video. Published: 67.10 % mean mAP on 2 GPUs.

torchrun --standalone --nproc_per_node=2 tools/train.py configs/re2tal/e2e_thumos_actionformer_swin_tiny.py
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import SwinConfig

config = thumos(
    name="e2e_actionformer_swin_tiny_frame1024",
    backbone=SwinConfig(
        activation_checkpointing=True,
        drop_path=0.1,
        pretrained=Path(
            "pretrained/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth"
        ),
    ),
)
