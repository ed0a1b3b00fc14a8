"""AdaTAD with VideoMAE-L on THUMOS-14, published with a mean mAP of 73.51: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomae_l_768x1_160_adapter",
    backbone=VideoMaeConfig(
        architecture="large",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03.pth"),
    ),
    learning_rate=1e-4,
)
