"""AdaTAD's ladder with VideoMAE-S on THUMOS-14: adapters beside the last six blocks, and no gradient in the network.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import LadderConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomae_s_768x1_160_side",
    backbone=VideoMaeConfig(
        architecture="small",
        adapter=LadderConfig(from_block=6),
        drop_path=0,
        pretrained=Path("pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth"),
    ),
    learning_rate=2e-4,
)
