"""ActionFormer on THUMOS-14 with VideoMAE-B, rewired and annealed: 768 frames of 160 x 160, in 48 chunks of 16."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import VideoMaeConfig

config = thumos_chunks(
    name="re2tal_videomae_base_768x160",
    backbone=VideoMaeConfig(
        architecture="base",
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth"),
    ),
    anneal_epochs=20,
)
