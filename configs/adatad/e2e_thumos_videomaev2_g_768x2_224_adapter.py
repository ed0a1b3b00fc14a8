"""AdaTAD with VideoMAE V2-g on 1536 frames of THUMOS-14, published with a mean mAP of 77.07.

Adapters in its upper half alone are trained. Needs pip install "re2tal[zoo]".
"""

from pathlib import Path

from re2tal.config import override
from re2tal.config.adatad import adatad_thumos
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig

config = adatad_thumos(
    name="e2e_actionformer_videomaev2_g_768x2_224_adapter",
    backbone=VideoMaeConfig(
        architecture="giant",
        size=(224, 224),
        adapter=TemporalAdapterConfig(from_block=20),
        activation_checkpointing=True,
        pretrained=Path("pretrained/vit_g_hybrid_pt_1200e_k710_ft.pth"),
    ),
    learning_rate=2e-4,
)
config = override(
    config,
    [
        "data.sampling.frames_per_step=2",
        "data.sampling.frame_stride=2",
        "training.epochs=50",
        "training.eval_from=37",
    ],
)
