"""AdaTAD's experiments: a video transformer that is not trained, adapters in it that are, and ActionFormer.

Liu et al., "End-to-End Temporal Action Detection with 1B Parameters Across 1000 Frames", CVPR 2024. Settings are those
of its published configs, in OpenTAD.
"""

from pathlib import Path

from re2tal.config.experiment import ExperimentConfig
from re2tal.config.presets import activitynet_chunks, thumos_chunks
from re2tal.networks.backbones.video_transformers import VideoTransformerConfig

__all__ = ["adatad_activitynet", "adatad_thumos"]


def adatad_thumos(
    *, name: str, backbone: VideoTransformerConfig, learning_rate: float, layer_decay: float = 1.0
) -> ExperimentConfig:
    """On THUMOS-14: windows of 768 frames, every fourth of the video.

    Args:
        name: of the experiment; runs go to `exps/adatad/<name>/`.
        backbone: with adapters.
        learning_rate: of what is trained of the backbone.
        layer_decay: see `TrainingConfig`.
    """
    return _changed(
        thumos_chunks(name=name, backbone=backbone),
        training={
            "backbone_learning_rate": learning_rate,
            "layer_decay": layer_decay,
            "anneal_epochs": 40 if (backbone.alpha, backbone.beta) != (0, 1) else 0,
            "eval_from": 40,
            "eval_every": 2,
            "checkpoint_every": 2,
        },
    )


def adatad_activitynet(*, name: str, backbone: VideoTransformerConfig, learning_rate: float = 1e-4) -> ExperimentConfig:
    """On ActivityNet-1.3: a whole video as 768 frames, and actions of one class, which a classifier of videos names.

    Args:
        name: of the experiment; runs go to `exps/adatad/<name>/`.
        backbone: with adapters.
        learning_rate: of what is trained of the backbone.
    """
    return _changed(
        activitynet_chunks(name=name, backbone=backbone),
        training={"backbone_learning_rate": learning_rate, "batch_size": 16},
    )


def _changed(base: ExperimentConfig, *, training: dict[str, object]) -> ExperimentConfig:
    changes = {
        "work_dir": Path("exps/adatad") / base.name,
        "training": base.training.model_copy(update=training),
    }
    return ExperimentConfig.model_validate({**dict(base), **changes})
