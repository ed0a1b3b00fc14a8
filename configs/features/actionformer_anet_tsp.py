"""ActionFormer on ActivityNet-1.3, on TSP features: snippets of 16 frames without overlap, at 15 frames per second."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, ResizeSampling
from re2tal.detections import CuhkConfig, NmsConfig, PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

ACTIVITYNET = Path("data/activitynet-1.3")

config = features_of_others(
    name="actionformer_anet_tsp",
    data=FeatureDataConfig(
        annotations=ACTIVITYNET / "annotations/activity_net.v1-3.min.json",
        files=(FeatureFiles(path=ACTIVITYNET / "features/anet_tsp_npy_unresize", pattern="v_{id}.npy", channels=512),),
        stride=16,
        offset=8,
        frame_rate=15,
        class_agnostic=True,
        sampling=ResizeSampling(num_steps=192),
        resize_crop=(0.9, 1.0),
    ),
    pyramid=PyramidConfig(
        channels=256, attention_window=(7, 7, 7, 7, 7, None), position_code=True, max_steps=192, input_dropout=0.2
    ),
    head=HeadConfig(label_smoothing=0.1, regression_weight=2.0, initial_normalizer=200.0),
    postprocess=PostprocessConfig(
        nms=NmsConfig(per_class=False, sigma=0.75, voting_tiou=0.9, max_segments=100),
        video_labels=CuhkConfig(path=ACTIVITYNET / "classifiers/cuhk_val_simp_7.json", top=2),
    ),
    training=TrainingConfig(epochs=15, batch_size=16, learning_rate=1e-3, eval_from=7),
    tious=tuple(round(0.5 + 0.05 * number, 2) for number in range(10)),
    evaluation=EvaluationConfig(blocked=ACTIVITYNET / "annotations/blocked.json"),
)
