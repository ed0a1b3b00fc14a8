"""Experiments that come with the package; files under `configs/` name them and vary them."""

from pathlib import Path
from typing import Any

from re2tal.config.experiment import ExperimentConfig
from re2tal.data import DataConfig, FeatureDataConfig, ResizeSampling, WindowSampling
from re2tal.detections import CuhkConfig, NmsConfig, PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.backbones import (
    BackboneConfig,
    PathwayConfig,
    PrecomputedConfig,
    Reversible,
    SlowFastConfig,
    SubClipConfig,
    SwinConfig,
    VideoMaeConfig,
)
from re2tal.networks.heads import HeadConfig, HeadSettings
from re2tal.networks.pyramid import PyramidConfig, PyramidSettings
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, CropConfig, JitterConfig, RandAugmentConfig

__all__ = [
    "activitynet",
    "activitynet_chunks",
    "demo",
    "demo_long",
    "demo_slowfast",
    "demo_swin",
    "demo_videomae",
    "features_of_others",
    "thumos",
    "thumos_chunks",
]

THUMOS = Path("data/thumos-14")
ACTIVITYNET = Path("data/activitynet-1.3")


def thumos(*, name: str, backbone: BackboneConfig, anneal_epochs: float = 0) -> ExperimentConfig:
    """ActionFormer on THUMOS-14, trained end to end from raw video, as in the paper: 1024 frames a window.

    Args:
        name: of the experiment; runs go to `exps/thumos/<name>/`.
        backbone: on its own settings depends everything in which the four experiments differ.
        anneal_epochs: for a backbone that begins near the network that was rewired.
    """
    # Most actions annotated in the first lie past its end; in the second only ambiguous times are annotated.
    removed = ("video_test_0000270", "video_test_0001292")
    return ExperimentConfig(
        name=name,
        work_dir=Path("exps/thumos") / name,
        backbone=backbone,
        pyramid=PyramidConfig(channels=512, max_steps=512),
        data=DataConfig(
            annotations=THUMOS / "annotations/thumos_14_anno.json",
            videos=THUMOS / "raw_data/video",
            num_classes=20,
            # The original challenge calls them Validation and Test.
            train_subset=("training", "Validation"),
            test_subset=("validation", "Test"),
            missing=removed,
            sampling=WindowSampling(num_steps=512, frames_per_step=2, frame_stride=2),
        ),
        postprocess=PostprocessConfig(nms=NmsConfig(max_segments=2000)),
        evaluation=EvaluationConfig(tious=(0.3, 0.4, 0.5, 0.6, 0.7), blocked=removed),
        training=TrainingConfig(
            epochs=120,
            cosine_epochs=1500,
            batch_size=2,
            learning_rate=1e-4,
            anneal_epochs=anneal_epochs,
            amp="fp16",
            eval_from=79,
            eval_every=5,
            checkpoint_every=5,
            keep_checkpoints=3,
        ),
    )


def thumos_chunks(*, name: str, backbone: SubClipConfig, anneal_epochs: float = 0) -> ExperimentConfig:
    """ActionFormer on THUMOS-14 with a video transformer, in AdaTAD's setting: windows of 768 frames, every 4th.

    The backbone cuts a window into chunks (`backbone.clip_frames`, of VideoMAE 48 times 16), and frames are as large as
    it takes them (`backbone.size`). Liu et al., "End-to-End Temporal Action Detection with 1B Parameters Across 1000
    Frames", CVPR 2024.

    Args:
        name: of the experiment; runs go to `exps/thumos/<name>/`.
        backbone: all in which the experiments differ.
        anneal_epochs: for a backbone that begins near the network that was rewired.
    """
    base = thumos(name=name, backbone=SwinConfig())
    sampling = WindowSampling(num_steps=768, frames_per_step=1, frame_stride=4)
    training = {"epochs": 60, "cosine_epochs": 100, "anneal_epochs": anneal_epochs, "eval_from": 39}
    return ExperimentConfig.model_validate(
        {
            **dict(base),
            "backbone": backbone,
            "pyramid": base.pyramid.model_copy(update={"max_steps": 768}),
            "data": base.data.model_copy(update={"sampling": sampling, **_frames_for(backbone)}),
            "training": base.training.model_copy(update=training),
        }
    )


def _frames_for(backbone: SubClipConfig) -> dict[str, Any]:
    """Settings of the data, in the proportions of 256 and 224 pixels."""
    side = min(backbone.size)
    return {"short_side_train": side * 8 // 7, "short_side_test": side, "crop_size": backbone.size}


def activitynet(*, name: str, backbone: BackboneConfig) -> ExperimentConfig:
    """ActionFormer on ActivityNet-1.3, trained end to end from raw video, as in the paper: 768 frames a video.

    It finds actions of one class; the CUHK classifier of whole videos then names them.

    Args:
        name: of the experiment; runs go to `exps/anet/<name>/`.
        backbone: on its own settings depends everything in which the four experiments differ.
    """
    videos = ACTIVITYNET / "raw_data/Anet_videos_15fps_short256"
    return ExperimentConfig(
        name=name,
        work_dir=Path("exps/anet") / name,
        backbone=backbone,
        pyramid=PyramidConfig(channels=256, position_code=True, max_steps=192),
        head=HeadConfig(label_smoothing=0.1, regression_weight=2.0, initial_normalizer=200.0),
        data=DataConfig(
            annotations=ACTIVITYNET / "annotations/activity_net.v1-3.min.json",
            videos=videos,
            video_pattern="v_{id}.mp4",
            class_agnostic=True,
            missing=videos / "missing_files.txt",
            sampling=ResizeSampling(num_steps=192, frames_per_step=4),
        ),
        postprocess=PostprocessConfig(
            nms=NmsConfig(per_class=False, voting_tiou=0.9, max_segments=100),
            video_labels=CuhkConfig(path=ACTIVITYNET / "classifiers/cuhk_val_simp_7.json", top=2),
        ),
        evaluation=EvaluationConfig(
            tious=tuple(round(0.5 + 0.05 * i, 2) for i in range(10)),
            blocked=ACTIVITYNET / "annotations/blocked.json",
        ),
        training=TrainingConfig(
            epochs=15,
            batch_size=8,
            learning_rate=1e-3,
            amp="fp16",
            eval_from=8,
            keep_checkpoints=3,
            log_every=100,
            num_workers=4,
        ),
    )


def activitynet_chunks(*, name: str, backbone: SubClipConfig, anneal_epochs: float = 0) -> ExperimentConfig:
    """ActionFormer on ActivityNet-1.3 with a video transformer, in AdaTAD's setting: 768 frames a video, in chunks.

    Args:
        name: of the experiment; runs go to `exps/anet/<name>/`.
        backbone: see `thumos_chunks`.
        anneal_epochs: likewise.
    """
    base = activitynet(name=name, backbone=SwinConfig())
    return ExperimentConfig.model_validate(
        {
            **dict(base),
            "backbone": backbone,
            "data": base.data.model_copy(update=_frames_for(backbone)),
            "training": base.training.model_copy(update={"batch_size": 16, "anneal_epochs": anneal_epochs}),
        }
    )


def features_of_others(
    *,
    name: str,
    data: FeatureDataConfig,
    pyramid: PyramidSettings,
    head: HeadSettings,
    postprocess: PostprocessConfig,
    training: TrainingConfig,
    tious: tuple[float, ...],
    evaluation: EvaluationConfig | None = None,
) -> ExperimentConfig:
    """A detector on features that others have extracted.

    Args:
        name: of the experiment; runs go to `exps/features/<name>/`.
        data: which features; the channels of all its files together are those of the pyramid's input.
        pyramid: see there, and so on.
        head: see there.
        postprocess: see there.
        training: see there.
        tious: of the metric.
        evaluation: what else is measured, and which videos are left out.
    """
    return ExperimentConfig(
        name=name,
        work_dir=Path("exps/features") / name,
        backbone=PrecomputedConfig(out_channels=sum(files.channels for files in data.files)),
        pyramid=pyramid,
        head=head,
        data=data,
        postprocess=postprocess,
        evaluation=(evaluation or EvaluationConfig()).model_copy(update={"tious": tious}),
        training=training,
    )


def demo(
    *,
    data: Path,
    name: str = "demo",
    work_dir: Path = Path("exps/demo"),
    backbone: BackboneConfig | None = None,
    epochs: int = 16,
    learning_rate: float = 4e-3,
    backbone_learning_rate: float = 3e-3,
) -> ExperimentConfig:
    """A small network on the videos that `re2tal.data.demo` makes in the folder `data`: minutes on two cores.

    Args:
        data: where the videos are.
        name: of the experiment.
        work_dir: where its results go.
        backbone: None for a small Re2SlowFast, which learns the demo fastest.
        epochs: passes over the training videos; the last one is evaluated.
        learning_rate: of pyramid and head.
        backbone_learning_rate: of the backbone.
    """
    return ExperimentConfig(
        name=name,
        work_dir=work_dir,
        backbone=backbone or demo_slowfast(reversible="auto"),
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
            flip_probability=0.5,  # no class has a mirror image in another one
            rand_augment=RandAugmentConfig(num_operations=0),
            jitter=JitterConfig(brightness=0.2, contrast=0.0, saturation=0.0, hue=0.0),
        ),
        postprocess=PostprocessConfig(nms=NmsConfig(max_segments=100)),
        training=TrainingConfig(
            epochs=epochs,
            batch_size=4,
            learning_rate=learning_rate,
            backbone_learning_rate=backbone_learning_rate,
            warmup_epochs=1,
            ema_decay=0.98,
            eval_from=epochs - 1,
            keep_checkpoints=2,
            log_every=30,
            num_workers=0,
        ),
    )


def demo_long(*, data: Path, work_dir: Path = Path("exps/demo_long"), epochs: int = 24) -> ExperimentConfig:
    """A small network on the long variant of the demo's videos: ten minutes each, trained on and tested on as a whole.

    A step is half a second. Chunks of 8 s go through the backbone, a quarter of which get gradients.

    Args:
        data: where `make_demo_set(..., long=True)` made the videos.
        work_dir: where results go.
        epochs: passes over the training videos; the last one is evaluated.
    """
    pathway = {"base_channels": 8, "temporal_stages": (True, True)}
    backbone = SlowFastConfig(
        blocks=(1, 1),
        slow=PathwayConfig(stem_kernel=(1, 5, 5), **pathway),
        fast=PathwayConfig(stem_kernel=(3, 5, 5), **pathway),
        freeze_norms=False,
        chunk_frames=32,
        sampled_gradients=0.25,
    )
    base = demo(data=data, name="demo_long", work_dir=work_dir, backbone=backbone, epochs=epochs)
    sampling = WindowSampling(num_steps=1200, frames_per_step=2, frame_stride=1)
    return ExperimentConfig.model_validate(
        {
            **dict(base),
            "pyramid": PyramidConfig(
                channels=64, num_heads=4, arch=(1, 2, 4), position_code=True, max_steps=1200, drop_path=0.0
            ),
            "data": base.data.model_copy(
                update={
                    "sampling": sampling,
                    "test_whole": True,
                    "short_side_train": 27,
                    "short_side_test": 24,
                    "crop_size": (24, 24),
                }
            ),
            "training": base.training.model_copy(update={"batch_size": 1, "log_every": 12}),
        }
    )


def demo_slowfast(*, reversible: Reversible) -> SlowFastConfig:
    """A SlowFast of three stages that trains from scratch on 32 x 32 pixels."""
    return SlowFastConfig(
        blocks=(2, 2, 2),
        slow=PathwayConfig(base_channels=8, stem_kernel=(1, 5, 5), temporal_stages=(False, True, True)),
        fast=PathwayConfig(base_channels=8, stem_kernel=(3, 5, 5), temporal_stages=(True, True, True)),
        reversible=reversible,
        freeze_norms=False,
    )


def demo_swin(*, reversible: Reversible) -> SwinConfig:
    """A Video Swin of two stages; from scratch it needs several times the epochs of the SlowFast."""
    return SwinConfig(
        embed_dim=48,
        depths=(2, 2),
        num_heads=(3, 6),
        patch_size=(2, 8, 8),
        window_size=(8, 4, 4),
        drop_path=0.0,
        fresh_weights="by_width",
        reversible=reversible,
        freeze_norms=False,
    )


def demo_videomae(*, reversible: Reversible) -> VideoMaeConfig:
    """A VideoMAE of 0.56 M parameters, in chunks of 16 frames, with patches of 8 x 8 pixels."""
    return VideoMaeConfig(
        width=96,
        depth=4,
        heads=3,
        hidden=384,
        patch=8,
        size=(32, 32),
        drop_path=0.0,
        fresh_weights="by_width",
        reversible=reversible,
    )
