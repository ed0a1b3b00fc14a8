"""ActionFormer on THUMOS-14 with VideoMAE V2-g, rewired and annealed: 768 frames of 160 x 160, in 48 chunks of 16."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import VideoMaeConfig

config = thumos_chunks(
    name="re2tal_videomae_giant_768x160",
    backbone=VideoMaeConfig(
        architecture="giant",
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/vit_g_hybrid_pt_1200e_k710_ft.pth"),
    ),
    anneal_epochs=20,
)
