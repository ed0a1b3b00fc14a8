"""ActionFormer on Ego4D's moment queries, on SlowFast features: snippets of 32 frames, every 16."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

EGO4D = Path("data/ego4d")

config = features_of_others(
    name="actionformer_ego4d_slowfast",
    data=FeatureDataConfig(
        annotations=EGO4D / "annotations/ego4d_v2_220429.json",
        files=(FeatureFiles(path=EGO4D / "features/mq_slowfast", channels=2304),),
        stride=16,
        offset=16,
        num_classes=110,
        train_subset=("train", "training"),
        test_subset=("val", "validation"),
        sampling=WindowSampling(num_steps=1024, test_overlap=0.0, min_inside=0.3),
    ),
    pyramid=PyramidConfig(
        arch=(2, 2, 8),
        attention_window=(9, 9, 9, 9, 9, 9, None, None, None),
        position_code=True,
        max_steps=1024,
        dropout=0.1,
        input_dropout=0.2,
    ),
    head=HeadConfig(range_overlap=2.0, all_labels=True),
    postprocess=PostprocessConfig(max_candidates=5000, nms=NmsConfig(sigma=2.0, max_segments=2000)),
    training=TrainingConfig(epochs=20, cosine_epochs=25, batch_size=2, learning_rate=1e-4, eval_from=12),
    tious=(0.1, 0.2, 0.3, 0.4, 0.5),
    evaluation=EvaluationConfig(recall_multiples=(1, 5)),
)
