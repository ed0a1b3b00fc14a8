"""VideoMAE-B on THUMOS-14, rewired and trained as a whole, with AdaTAD's adapters in it.

It begins near the pretrained network and becomes Re2TAL's in 40 epochs; lower blocks learn at lower rates. Needs pip
install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="re2tal_e2e_actionformer_videomae_b_768x1_160_adapter",
    backbone=VideoMaeConfig(
        architecture="base",
        adapter=TemporalAdapterConfig(),
        train_from=0,
        reversible=True,
        alpha=0.75,
        beta=0.25,
        pretrained=Path("pretrained/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth"),
    ),
    learning_rate=1e-4,
    layer_decay=0.75,
)
