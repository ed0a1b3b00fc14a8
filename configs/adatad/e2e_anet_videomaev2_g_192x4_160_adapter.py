"""AdaTAD with VideoMAE V2-g on ActivityNet-1.3, published with a mean mAP of 39.77: adapters alone are trained.

Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_activitynet
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_activitynet(
    name="e2e_actionformer_videomaev2_g_192x4_160_adapter",
    backbone=VideoMaeConfig(
        architecture="giant",
        adapter=TemporalAdapterConfig(),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit_g_hybrid_pt_1200e_k710_ft.pth"),
    ),
)
