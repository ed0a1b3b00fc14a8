"""ActionFormer on THUMOS-14, on its two-stream I3D features: snippets of 16 frames, every 4 at the videos' own rate."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

config = features_of_others(
    name="actionformer_thumos_i3d",
    data=FeatureDataConfig(
        annotations=Path("data/thumos-14/annotations/thumos_14_anno.json"),
        files=(FeatureFiles(path=Path("data/thumos-14/features/i3d_actionformer_stride4_thumos"), channels=2048),),
        stride=4,
        offset=8,
        num_classes=20,
        train_subset=("training", "Validation"),
        test_subset=("validation", "Test"),
        sampling=WindowSampling(num_steps=2304, min_inside=0.5),
        test_whole=True,
    ),
    pyramid=PyramidConfig(attention_window=19, max_steps=2304, input_dropout=0.2),
    head=HeadConfig(),
    postprocess=PostprocessConfig(nms=NmsConfig(sigma=0.5, max_segments=2000)),
    training=TrainingConfig(epochs=35, batch_size=2, learning_rate=1e-4, eval_from=30),
    tious=(0.3, 0.4, 0.5, 0.6, 0.7),
)
