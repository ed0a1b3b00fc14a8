"""ActionFormer on THUMOS-14 with MViTv2-S, rewired and annealed: 768 frames of 224 x 224, in 48 chunks of 16."""

from pathlib import Path

from re2tal.config.presets import thumos_chunks
from re2tal.networks.backbones import MvitConfig

config = thumos_chunks(
    name="re2tal_mvit_v2_small_768x224",
    backbone=MvitConfig(
        size=(224, 224),
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/mvit_v2_s-ae3be167.pth"),
    ),
    anneal_epochs=20,
)
