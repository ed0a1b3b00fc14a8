"""ActionFormer on HACS, on SlowFast-101 features: snippets of 32 frames, every 8 at 15 frames per second."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig, TcanetConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

HACS = Path("data/hacs-1.1.1")

config = features_of_others(
    name="actionformer_hacs_slowfast",
    data=FeatureDataConfig(
        annotations=HACS / "annotations/HACS_segments_v1.1.1.json",
        files=(FeatureFiles(path=HACS / "features/slowfast101_15fps_stride8_len32_hacs", channels=2304),),
        stride=8,
        offset=16,
        frame_rate=15,
        class_agnostic=True,
        sampling=WindowSampling(num_steps=960, min_inside=0.5),
    ),
    pyramid=PyramidConfig(
        channels=256, attention_window=(13, 13, 13, 13, 13, None), position_code=True, max_steps=960, input_dropout=0.1
    ),
    head=HeadConfig(label_smoothing=0.1, initial_normalizer=400.0),
    postprocess=PostprocessConfig(
        nms=NmsConfig(sigma=0.75, max_segments=100),
        video_labels=TcanetConfig(path=HACS / "classifiers/validation94.32.json", top=3),
    ),
    training=TrainingConfig(epochs=15, batch_size=16, learning_rate=1e-3, weight_decay=0.03, eval_from=8),
    tious=tuple(round(0.5 + 0.05 * number, 2) for number in range(10)),
)
