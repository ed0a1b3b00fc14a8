"""AdaTAD with VideoMAE-B on THUMOS-14, published with a mean mAP of 71.14: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomae_b_768x1_160_adapter",
    backbone=VideoMaeConfig(
        architecture="base",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth"),
    ),
    learning_rate=1e-4,
)
