"""ActionFormer on THUMOS-14 with InternVideo2-1B, rewired and annealed: 768 frames of 160 x 160, in 96 chunks of 8."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import InternVideoConfig

config = thumos_chunks(
    name="re2tal_internvideo2_1b_768x160",
    backbone=InternVideoConfig(
        architecture="1b",
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/internvideo2_1b.pth"),
    ),
    anneal_epochs=20,
)
