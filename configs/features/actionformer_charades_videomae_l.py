"""ActionFormer on Charades, on VideoMAE-L features: snippets of 16 frames, every 4 at 30 per second."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

CHARADES = Path("data/charades")

config = features_of_others(
    name="actionformer_charades_videomae_l",
    data=FeatureDataConfig(
        annotations=CHARADES / "annotations/charades.json",
        files=(
            FeatureFiles(
                path=CHARADES / "features/videomae-large_16x4x1_img224_stride4_len16_interval1_charades_30fps",
                channels=1024,
            ),
        ),
        stride=4,
        offset=2,
        frame_rate=30,
        num_classes=157,
        test_subset="testing",
        sampling=WindowSampling(num_steps=512, min_inside=0.5),
    ),
    pyramid=PyramidConfig(arch=(2, 2, 7), position_code=True, max_steps=512, input_dropout=0.3),
    head=HeadConfig(),
    postprocess=PostprocessConfig(nms=NmsConfig(sigma=0.3, max_segments=1000)),
    training=TrainingConfig(epochs=20, batch_size=16, learning_rate=1e-4, eval_from=8),
    tious=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
