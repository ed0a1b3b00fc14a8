"""ActionFormer on FineAction, on VideoMAE-H features: snippets of 16 frames without overlap."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, ResizeSampling
from re2tal.detections import CuhkConfig, NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

FINEACTION = Path("data/fineaction")

config = features_of_others(
    name="actionformer_fineaction_videomae_h",
    data=FeatureDataConfig(
        annotations=FINEACTION / "annotations/annotations_gt.json",
        files=(
            FeatureFiles(
                path=FINEACTION / "features/intervideo_mae_huge_k700_stride16_len16_fineaction", channels=1280
            ),
        ),
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
    training=TrainingConfig(epochs=20, batch_size=16, learning_rate=1e-3, eval_from=10),
    tious=tuple(round(0.5 + 0.05 * number, 2) for number in range(10)),
)
