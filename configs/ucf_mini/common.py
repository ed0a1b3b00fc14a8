"""What the experiments on ucf_mini share: everything but the backbone."""

import os
from pathlib import Path

from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.backbones import (
    BackboneConfig,
    FactoryConfig,
    PathwayConfig,
    Reversible,
    SlowFastConfig,
    SwinConfig,
    VideoMaeConfig,
)
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.training.precision import Amp
from re2tal.video import AugmentConfig, CropConfig, JitterConfig, RandAugmentConfig

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RE2TAL_DATA", REPOSITORY / "../shared/data")) / "ucf_mini"


def slowfast(*, name: str, reversible: Reversible) -> ExperimentConfig:
    """A SlowFast of 0.35 M parameters. Its slow pathway sees every second frame, since an action has only 6 to 12."""
    backbone = SlowFastConfig(
        blocks=(2, 2, 2),
        slow=PathwayConfig(base_channels=16, stem_kernel=(1, 5, 5), temporal_stages=(True, True, True)),
        fast=PathwayConfig(base_channels=4, stem_kernel=(3, 5, 5), temporal_stages=(True, True, True)),
        frame_ratio=2,
        fusion_kernel=5,
        reversible=reversible,
        freeze_norms=False,
    )
    return _experiment(name=name, backbone=backbone, learning_rate=2e-3, backbone_learning_rate=2e-3, amp="auto")


def swin(*, name: str, reversible: Reversible) -> ExperimentConfig:
    """A Video Swin of 0.33 M parameters. Its patches have 8 x 8 pixels: those of 4 x 4 take four times as long."""
    backbone = SwinConfig(
        embed_dim=48,
        depths=(2, 2),
        num_heads=(3, 6),
        patch_size=(2, 8, 8),
        window_size=(8, 4, 5),
        drop_path=0.0,
        reversible=reversible,
        freeze_norms=False,
    )
    # In bfloat16 the streams that a rewired Swin recovers are off by 1 %, in float32 by a millionth.
    return _experiment(name=name, backbone=backbone, learning_rate=1e-3, backbone_learning_rate=4e-4, amp="none")


def videomae(*, name: str, reversible: Reversible) -> ExperimentConfig:
    """A VideoMAE of 0.57 M parameters, in chunks of 16 frames; its patches have 10 x 10 pixels."""
    backbone = VideoMaeConfig(
        width=96,
        depth=4,
        heads=3,
        hidden=384,
        patch=10,
        size=(60, 80),
        drop_path=0.0,
        fresh_weights="by_width",
        reversible=reversible,
    )
    return _experiment(name=name, backbone=backbone, learning_rate=1e-3, backbone_learning_rate=4e-4, amp="none")


def pretrained(*, network: str, takes: str, clip_frames: int) -> ExperimentConfig:
    """A network of pictures with ImageNet weights, rewired by annealed coefficients. Its frames have 64 x 80 pixels.

    `benchmarks/pretrained.py` writes the weights, and `benchmarks/pretrained_detector.py` trains in other ways, too.
    """
    backbone = FactoryConfig(
        factory=f"{REPOSITORY / 'benchmarks' / 'pretrained_networks.py'}:{network}",
        options={"num_frames": clip_frames} if takes == "BCTHW" else {},
        takes=takes,
        clip_frames=clip_frames,
        size=(64, 80),
        out_channels=1280,
        pretrained=REPOSITORY / "exps" / "pretrained" / f"{network}.pth",
        reversible=True,
        alpha=0.75,
        beta=0.25,
    )
    return _experiment(
        name=network,
        backbone=backbone,
        learning_rate=1e-3,
        backbone_learning_rate=3e-4,
        amp="none",
        crop_size=(64, 80),
        epochs=20,
        anneal_epochs=10,
    )


def _experiment(
    *,
    name: str,
    backbone: BackboneConfig,
    learning_rate: float,
    backbone_learning_rate: float,
    amp: Amp,
    crop_size: tuple[int, int] = (60, 80),
    epochs: int = 80,
    anneal_epochs: float = 0,
) -> ExperimentConfig:
    """Train `backbone` and a small ActionFormer on windows of 10.24 s at 6.25 frames per second."""
    return ExperimentConfig(
        name=f"ucf_mini_{name}",
        work_dir=REPOSITORY / "exps" / "ucf_mini" / name,
        backbone=backbone,
        pyramid=PyramidConfig(channels=96, num_heads=4, arch=(2, 1, 1), max_steps=64),
        # Nearly all actions last 0.9 to 2 s, 6 to 12 steps: the first level, a point at every frame, answers for them.
        head=HeadConfig(first_reach=8.0, center_radius=2.0, initial_normalizer=10.0),
        data=DataConfig(
            annotations=DATA / "ucf_mini.json",
            videos=DATA / "videos",
            sampling=WindowSampling(num_steps=64, frames_per_step=1, frame_stride=4, test_overlap=0.75),
            short_side_train=84,
            short_side_test=crop_size[0],
            crop_size=crop_size,
            cache_mib=512,
        ),
        augment=AugmentConfig(
            crop=CropConfig(area=(0.35, 1.0), aspect=(1.1, 1.6)),
            rand_augment=RandAugmentConfig(num_operations=0),
            jitter=JitterConfig(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0),
        ),
        postprocess=PostprocessConfig(nms=NmsConfig(sigma=0.5, max_segments=200)),
        evaluation=EvaluationConfig(tious=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        training=TrainingConfig(
            epochs=epochs,
            batch_size=2,
            learning_rate=learning_rate,
            backbone_learning_rate=backbone_learning_rate,
            warmup_epochs=1,
            anneal_epochs=anneal_epochs,
            amp=amp,
            ema_decay=0.99,
            # Only the last epoch is looked at, so the choice of epoch owes nothing to the videos tested on.
            eval_from=epochs - 1,
            checkpoint_every=epochs,
            keep_checkpoints=1,
            log_every=18,
            num_workers=0,
        ),
    )
