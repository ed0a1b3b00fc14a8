"""Experiments that come with the package; files under `configs/` name them and vary them."""

from pathlib import Path

from re2tal.backbones import PathwayConfig, SlowFastConfig
from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, ResizeSampling
from re2tal.heads import HeadConfig
from re2tal.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, JitterConfig, RandAugmentConfig

__all__ = ["demo"]


def demo(*, data: Path, work_dir: Path = Path("exps/demo")) -> ExperimentConfig:
    """A small Re2SlowFast on the videos that `re2tal.data.demo` makes in the folder `data`: minutes on two cores."""
    return ExperimentConfig(
        name="demo",
        work_dir=work_dir,
        backbone=SlowFastConfig(
            blocks=(2, 2, 2),
            slow=PathwayConfig(base_channels=8, stem_kernel=(1, 5, 5), temporal_stages=(True, True, True)),
            fast=PathwayConfig(base_channels=4, stem_kernel=(3, 5, 5), temporal_stages=(True, True, True)),
            reversible=True,
            freeze_norms=False,
        ),
        pyramid=PyramidConfig(channels=128, num_heads=4, arch=(2, 1, 4), max_steps=64),
        head=HeadConfig(initial_normalizer=200.0),
        data=DataConfig(
            annotations=data / "annotations.json",
            videos=data / "videos",
            sampling=ResizeSampling(num_steps=64, frames_per_step=2),
            short_side_train=32,
            short_side_test=32,
            crop_size=(32, 32),
            cache_mib=512,
        ),
        # Mirrored, clockwise would be counterclockwise.
        augment=AugmentConfig(
            crop=None,
            flip_probability=0.0,
            rand_augment=RandAugmentConfig(num_operations=0),
            jitter=JitterConfig(brightness=0.2, contrast=0.0, saturation=0.0, hue=0.0),
        ),
        training=TrainingConfig(
            epochs=20,
            batch_size=8,
            learning_rate=2e-3,
            backbone_learning_rate=2e-3,
            warmup_epochs=2,
            ema_decay=0.99,
            eval_from=19,
            checkpoint_every=10,
            keep_checkpoints=1,
            log_every=30,
            num_workers=0,
        ),
    )
