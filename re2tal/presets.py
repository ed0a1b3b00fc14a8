"""Experiments that come with the package; files under `configs/` name them and vary them."""

from pathlib import Path

from re2tal.backbones import BackboneConfig, PathwayConfig, SlowFastConfig, SwinConfig
from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, ResizeSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.heads import HeadConfig
from re2tal.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, CropConfig, JitterConfig, RandAugmentConfig

__all__ = ["demo", "demo_slowfast", "demo_swin"]


def demo(
    *, data: Path, name: str = "demo", work_dir: Path = Path("exps/demo"), backbone: BackboneConfig | None = None
) -> ExperimentConfig:
    """A small network on the videos that `re2tal.data.demo` makes in the folder `data`: minutes on two cores.

    Args:
        data: where the videos are.
        name: of the experiment.
        work_dir: where its results go.
        backbone: None for a small Re2SlowFast, which learns the demo fastest.
    """
    return ExperimentConfig(
        name=name,
        work_dir=work_dir,
        backbone=backbone or demo_slowfast(reversible=True),
        pyramid=PyramidConfig(channels=64, num_heads=4, arch=(1, 1, 2), max_steps=128, drop_path=0.0),
        # What makes it learn in minutes is that most actions are found on the first level, by as many points as fit:
        # six steps around the centre. With the defaults, three points on one of four levels learned half as fast.
        head=HeadConfig(
            num_convs=1, first_reach=16.0, center_radius=6.0, regression_weight=2.0, initial_normalizer=200.0
        ),
        data=DataConfig(
            annotations=data / "annotations.json",
            videos=data / "videos",
            sampling=ResizeSampling(num_steps=128, frames_per_step=1),
            short_side_train=36,
            short_side_test=32,
            crop_size=(32, 32),
            cache_mib=512,
        ),
        augment=AugmentConfig(
            crop=CropConfig(area=(0.7, 1.0), aspect=(0.9, 1.1)),
            flip_probability=0.0,
            rand_augment=RandAugmentConfig(num_operations=0),
            jitter=JitterConfig(brightness=0.2, contrast=0.0, saturation=0.0, hue=0.0),
        ),
        postprocess=PostprocessConfig(nms=NmsConfig(max_segments=100)),
        training=TrainingConfig(
            epochs=16,
            batch_size=4,
            learning_rate=4e-3,
            backbone_learning_rate=3e-3,
            warmup_epochs=1,
            ema_decay=0.98,
            eval_from=15,
            checkpoint_every=16,
            keep_checkpoints=1,
            log_every=30,
            num_workers=0,
        ),
    )


def demo_slowfast(*, reversible: bool) -> SlowFastConfig:
    """A SlowFast of three stages that trains from scratch on 32 x 32 pixels."""
    return SlowFastConfig(
        blocks=(2, 2, 2),
        slow=PathwayConfig(base_channels=8, stem_kernel=(1, 5, 5), temporal_stages=(False, True, True)),
        fast=PathwayConfig(base_channels=8, stem_kernel=(3, 5, 5), temporal_stages=(True, True, True)),
        reversible=reversible,
        freeze_norms=False,
    )


def demo_swin(*, reversible: bool) -> SwinConfig:
    """A Video Swin of three stages; from scratch it needs several times the epochs of the SlowFast."""
    return SwinConfig(
        embed_dim=48,
        depths=(2, 2, 2),
        num_heads=(3, 6, 12),
        window_size=(8, 4, 4),
        drop_path=0.0,
        reversible=reversible,
        freeze_norms=False,
    )
