"""AdaTAD with VideoMAE-H on ActivityNet-1.3, published with a mean mAP of 39.31: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_activitynet
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_activitynet(
    name="e2e_actionformer_videomae_h_192x4_160_adapter",
    backbone=VideoMaeConfig(
        architecture="huge",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth"),
    ),
)
