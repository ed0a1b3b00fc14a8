"""ActionFormer on the nouns of EPIC-KITCHENS-100, on SlowFast features: 32 frames, every 16 at 30 per second."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

EPIC = Path("data/epic_kitchens-100")

config = features_of_others(
    name="actionformer_epic_slowfast_noun",
    data=FeatureDataConfig(
        annotations=EPIC / "annotations/epic_kitchens_noun.json",
        files=(FeatureFiles(path=EPIC / "features/slowfast_fps30_stride16_clip32", channels=2304),),
        stride=16,
        offset=16,
        frame_rate=30,
        num_classes=293,
        train_subset=("train", "training"),
        test_subset=("val", "validation"),
        sampling=WindowSampling(num_steps=2304, min_inside=0.3),
        test_whole=True,
    ),
    pyramid=PyramidConfig(attention_window=9, max_steps=2304),
    head=HeadConfig(label_smoothing=0.1, initial_normalizer=250.0, range_overlap=2.0),
    postprocess=PostprocessConfig(max_candidates=5000, nms=NmsConfig(sigma=0.4, max_segments=2000)),
    training=TrainingConfig(epochs=20, batch_size=2, learning_rate=1e-4, eval_from=15),
    tious=(0.1, 0.2, 0.3, 0.4, 0.5),
)
