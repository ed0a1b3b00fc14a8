"""ActionFormer on THUMOS-14 with VideoMAE-S, rewired and annealed: 768 frames of 160 x 160, in 48 chunks of 16."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import VideoMaeConfig

config = thumos_chunks(
    name="re2tal_videomae_small_768x160",
    backbone=VideoMaeConfig(
        architecture="small",
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/videomae_small_k400.pth"),
    ),
    anneal_epochs=20,
)
