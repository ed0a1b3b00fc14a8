"""What the experiments on features of Ego4D and of FineAction share: everything but the features."""

from pathlib import Path

from re2tal.config import ExperimentConfig
from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, ResizeSampling, WindowSampling
from re2tal.detections import CuhkConfig, NmsConfig, PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

EGO4D, FINEACTION = Path("data/ego4d"), Path("data/fineaction")


def ego4d(*, name: str, files: FeatureFiles, stride: int, offset: int, pyramid: PyramidConfig) -> ExperimentConfig:
    """Moment queries, in windows of as many steps as the pyramid takes."""
    return features_of_others(
        name=name,
        data=FeatureDataConfig(
            annotations=EGO4D / "annotations/ego4d_v2_220429.json",
            files=(files,),
            stride=stride,
            offset=offset,
            num_classes=110,
            train_subset=("train", "training"),
            test_subset=("val", "validation"),
            sampling=WindowSampling(num_steps=pyramid.max_steps, test_overlap=0.0, min_inside=0.3),
        ),
        pyramid=pyramid.model_copy(update={"position_code": True, "dropout": 0.1, "input_dropout": 0.2}),
        head=HeadConfig(range_overlap=2.0, all_labels=True),
        postprocess=PostprocessConfig(max_candidates=5000, nms=NmsConfig(sigma=2.0, max_segments=2000)),
        training=TrainingConfig(epochs=20, cosine_epochs=25, batch_size=2, learning_rate=1e-4, eval_from=12),
        tious=(0.1, 0.2, 0.3, 0.4, 0.5),
        evaluation=EvaluationConfig(recall_multiples=(1, 5)),
    )


def fineaction(*, name: str, files: FeatureFiles, training: TrainingConfig) -> ExperimentConfig:
    """Whole videos, resized, of snippets of 16 frames without overlap; classes come from a classifier."""
    return features_of_others(
        name=name,
        data=FeatureDataConfig(
            annotations=FINEACTION / "annotations/annotations_gt.json",
            files=(files,),
            stride=16,
            offset=8,
            class_agnostic=True,
            sampling=ResizeSampling(num_steps=192),
            resize_crop=(0.9, 1.0),
        ),
        pyramid=PyramidConfig(channels=256, attention_window=(7, 7, 7, 7, 7, None), position_code=True, max_steps=192),
        head=HeadConfig(label_smoothing=0.1, regression_weight=2.0, initial_normalizer=200.0),
        postprocess=PostprocessConfig(
            nms=NmsConfig(per_class=False, sigma=0.75, voting_tiou=0.9, max_segments=100),
            video_labels=CuhkConfig(
                path=FINEACTION / "classifiers/new_swinB_1x1x256_views2x3_max_label_avg_prob.json", top=2
            ),
        ),
        training=training,
        tious=tuple(round(0.5 + 0.05 * number, 2) for number in range(10)),
    )
