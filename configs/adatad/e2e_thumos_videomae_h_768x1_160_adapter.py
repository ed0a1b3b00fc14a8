"""AdaTAD with VideoMAE-H on THUMOS-14, published with a mean mAP of 74.95: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomae_h_768x1_160_adapter",
    backbone=VideoMaeConfig(
        architecture="huge",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth"),
    ),
    learning_rate=1e-4,
)
