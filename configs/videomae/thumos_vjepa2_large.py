"""ActionFormer on THUMOS-14 with V-JEPA 2 ViT-L, rewired and annealed: 768 frames of 160 x 160, in 12 chunks of 64."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import VjepaConfig

config = thumos_chunks(
    name="re2tal_vjepa2_large_768x160",
    backbone=VjepaConfig(
        architecture="large",
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/vitl.pt"),
    ),
    anneal_epochs=20,
)
