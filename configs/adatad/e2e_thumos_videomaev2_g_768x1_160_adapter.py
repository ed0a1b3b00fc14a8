"""AdaTAD with VideoMAE V2-g on THUMOS-14, published with a mean mAP of 75.06: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomaev2_g_768x1_160_adapter",
    backbone=VideoMaeConfig(
        architecture="giant",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit_g_hybrid_pt_1200e_k710_ft.pth"),
    ),
    learning_rate=1e-4,
)
