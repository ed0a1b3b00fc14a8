"""ActionFormer on Charades, on I3D features of the pictures, every 8 frames at 24 per second."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

CHARADES = Path("data/charades")

config = features_of_others(
    name="actionformer_charades_i3d_rgb",
    data=FeatureDataConfig(
        annotations=CHARADES / "annotations/charades.json",
        files=(FeatureFiles(path=CHARADES / "features/i3d_charades_finetuned_stride8", channels=1024),),
        stride=8,
        offset=0,
        frame_rate=24,
        num_classes=157,
        test_subset="testing",
        sampling=WindowSampling(num_steps=768, min_inside=0.5),
        test_whole=True,
    ),
    pyramid=PyramidConfig(arch=(2, 2, 6), position_code=True, max_steps=768, input_dropout=0.3),
    head=HeadConfig(),
    postprocess=PostprocessConfig(nms=NmsConfig(sigma=0.3, max_segments=1000)),
    training=TrainingConfig(epochs=15, cosine_epochs=20, batch_size=16, learning_rate=1e-4, eval_from=7),
    tious=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
