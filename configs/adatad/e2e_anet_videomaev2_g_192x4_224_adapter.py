"""AdaTAD with VideoMAE V2-g on ActivityNet-1.3, 224 x 224, published with a mean mAP of 39.86.

Adapters in its upper half alone are trained. Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config.adatad import adatad_activitynet
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_activitynet(
    name="e2e_actionformer_videomaev2_g_192x4_224_adapter",
    backbone=VideoMaeConfig(
        architecture="giant",
        size=(224, 224),
        adapter=TemporalAdapterConfig(from_block=20),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit_g_hybrid_pt_1200e_k710_ft.pth"),
    ),
)
