"""Trimmed videos of two classes that are easily told apart, and a config that learns them in seconds."""

from pathlib import Path

import numpy as np

from re2tal.experiments.finetuning import ClipsConfig, ClipSource, FinetuneConfig
from re2tal.networks.backbones import PathwayConfig, SlowFastConfig
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, JitterConfig, RandAugmentConfig, write_video

FPS = 8
SIZE = 16
CLASSES = {"bright": 170, "dark": 20}


def write_clip(path: Path, *, brightness: int, num_frames: int = 12, seed: int = 0) -> None:
    """Noise of some brightness."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(seed).integers(0, 60, (num_frames, SIZE, SIZE, 3), dtype=np.uint8)
    write_video(path, frames + np.uint8(brightness), fps=FPS)


def write_folders(folder: Path) -> None:
    """`folder/train/<class>/<n>.mp4` and `folder/test/...`."""
    for part, count in (("train", 4), ("test", 2)):
        for label, brightness in CLASSES.items():
            for number in range(count):
                path = folder / part / label / f"{number}.mp4"
                write_clip(path, brightness=brightness, seed=number, num_frames=10 + number)


BACKBONE = SlowFastConfig(
    blocks=(2, 2),
    slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
    fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
    fusion_kernel=3,
    reversible=True,
    freeze_norms=False,
)
"""That of `tests.tiny_experiment`."""


def tiny_finetuning(folder: Path, **changes: object) -> FinetuneConfig:
    """On what `write_folders` wrote."""
    settings: dict[str, object] = {
        "name": "tiny",
        "work_dir": folder / "exps",
        "backbone": BACKBONE,
        "data": ClipsConfig(
            train=ClipSource(videos=folder / "train"),
            test=ClipSource(videos=folder / "test"),
            num_frames=8,
            frame_stride=1,
            test_clips=2,
            short_side_train=16,
            short_side_test=16,
            crop_size=(16, 16),
        ),
        "augment": AugmentConfig(
            rand_augment=RandAugmentConfig(num_operations=0), jitter=JitterConfig(brightness=0, contrast=0)
        ),
        "dropout": 0.1,
        "training": TrainingConfig(
            epochs=4,
            batch_size=4,
            warmup_epochs=0.5,
            learning_rate=2e-2,
            backbone_learning_rate=5e-3,
            ema_decay=0.5,
            num_workers=0,
        ),
    }
    return FinetuneConfig.model_validate({**settings, **changes})
