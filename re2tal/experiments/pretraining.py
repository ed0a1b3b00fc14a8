"""From a detector's config and the frames of its training videos, without their labels, to weights of its backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from re2tal.common.types import Action
from re2tal.config import ExperimentConfig
from re2tal.config.building import count_parameters
from re2tal.data import TrainingClips, annotations_of, training_clips
from re2tal.data.annotations import Annotations
from re2tal.data.config import DataSettings, WindowSampling
from re2tal.experiments.experiment import broken_lister, describe_run, newest, note_config, prepare_process
from re2tal.experiments.loading import load_epochs
from re2tal.experiments.pretrained import start_from_pretrained, write_backbone
from re2tal.networks.backbones import MaskedVideoMae, VideoMaeConfig, build_backbone
from re2tal.training import (
    Processes,
    RunFolder,
    Trainer,
    TrainingConfig,
    load_checkpoint,
    log,
    seed_all,
    tensorboard_logger,
)
from re2tal.training.loop import TrainingLoader

__all__ = ["PretrainingError", "TubeMasking", "frames_alone", "load_frames", "masked_network", "pretrain"]


class PretrainingError(ValueError):
    """A config or settings that no pre-training can follow, and why."""


@dataclass(frozen=True, kw_only=True)
class TubeMasking:
    """How a VideoMAE learns from frames without labels; the defaults but the learning rate are its authors'."""

    epochs: int = 100
    """Passes over the training videos, of each of which an epoch shows one clip of the detector's length."""
    mask_ratio: float = 0.9
    """Share of the tokens that is not shown."""
    decoder_depth: int = 4
    """Blocks of the decoder, which is thrown away afterwards."""
    learning_rate: float = 1e-3
    """At the end of the warm-up, which takes a tenth of the epochs."""
    batch_size: int | None = None
    """Clips of a step, each of which gives several sub-clips; None: as many as the detector's training takes."""

    def __post_init__(self) -> None:
        counts = {"epochs": self.epochs, "decoder_depth": self.decoder_depth, "batch_size": self.batch_size or 1}
        for name, value in counts.items():
            if value < 1:
                raise PretrainingError(f"{name} must be at least 1, got {value}; raise it")
        if not 0 < self.mask_ratio < 1:
            raise PretrainingError(f"mask_ratio must be in (0, 1), got {self.mask_ratio:g}; its authors' is 0.9")
        if not 0 < self.learning_rate < 1:
            raise PretrainingError(f"learning_rate must be in (0, 1), got {self.learning_rate:g}; try 0.001")

    def training(self, detector: TrainingConfig) -> TrainingConfig:
        """The detector's settings of training with what is different here."""
        changes: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size or detector.batch_size,
            "learning_rate": self.learning_rate,
            "backbone_learning_rate": self.learning_rate,
            "warmup_epochs": self.epochs / 10,
            "cosine_epochs": None,
            "layer_decay": 1.0,
            "anneal_epochs": 0,
            "memory": None,
            "ema_decay": 0.0,  # the cosine ends at 0, so the last weights are as good as any average
            "eval_from": self.epochs - 1,
            "checkpoint_every": max(self.epochs // 10, 1),
            "keep_checkpoints": 1,
            "start_from": None,
            "start_from_classes": {},
        }
        return TrainingConfig.model_validate({**dict(detector), **changes})


def pretrain(
    config: ExperimentConfig,
    masking: TubeMasking,
    *,
    processes: Processes,
    folder: RunFolder,
    resume: Path | Literal["auto"] | None = None,
    deterministic: bool = True,
    console: Console | None = None,
) -> Path:
    """Train the config's VideoMAE on the frames of the training videos; labels and test videos are not looked at.

    It starts from `backbone.pretrained`, if the config names a file.

    Args:
        config: of a detector, whose backbone is a VideoMAE.
        masking: see there.
        processes: the processes that share the work.
        folder: of the run, for checkpoints, log and losses.
        resume: a whole state to go on from; "auto": the newest good one in `folder`, if there is any.
        deterministic: whether cuDNN takes kernels that repeat exactly.
        console: of a terminal, for a live bar.

    Returns:
        `backbone.safetensors` in the folder, for `backbone.pretrained` of the detector.

    Raises:
        PretrainingError: the config's backbone is no VideoMAE.
        Stopped: SIGTERM or SIGINT came; everything is saved.
    """
    config = config.model_copy(update={"training": masking.training(config.training)})
    prepare_process(config.training.seed, device=processes.device, deterministic=deterministic)
    model = masked_network(config, masking).to(processes.device)
    clips = frames_alone(config, annotations_of(config.data))
    checkpoint = newest(folder, processes=processes) if resume == "auto" else resume
    if checkpoint is None and config.backbone.pretrained is not None:
        given = build_backbone(config.backbone.model_copy(update=MaskedVideoMae.trained_whole))
        start_from_pretrained(given, config.backbone)
        model.load_backbone(given.network.state_dict())
    note_config(config, folder.config, processes=processes)
    trainer = Trainer(
        model,
        config=config.training,
        loader=load_frames(clips, config, processes=processes),
        processes=processes,
        folder=folder,
        about=describe_run(config, ()),
        tensorboard=tensorboard_logger(config.training, folder=folder, processes=processes),
    )
    log.info(
        "%s: tube masking of %d training videos, %d of %d tokens of a time hidden; %.2f M parameters; %d process(es) "
        "on %s",
        config.name,
        len(clips),
        model.num_masked,
        model.num_places,
        count_parameters(model) / 1e6,
        processes.world_size,
        processes.device,
    )
    # The weights start alike in every process; masks must not.
    seed_all(config.training.seed + processes.rank)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    trainer.run(None, after_epoch=broken_lister(clips, processes=processes), console=console)
    weights = folder.path / "backbone.safetensors"
    if processes.is_main:
        write_masked(weights, load_checkpoint(folder.epoch(masking.epochs - 1)), config=config)
    return weights


def write_masked(path: Path, checkpoint: Mapping[str, Any], *, config: ExperimentConfig) -> None:
    """The backbone's weights of what `Trainer` keeps of a `MaskedVideoMae`."""
    tensors = MaskedVideoMae.backbone_weights(checkpoint["weights"])
    write_backbone(path, tensors, checkpoint=checkpoint, backbone=config.backbone, metadata={"network": config.name})


def masked_network(config: ExperimentConfig, masking: TubeMasking) -> MaskedVideoMae:
    """The config's backbone with a decoder, with fresh weights."""
    backbone = config.backbone
    if not isinstance(backbone, VideoMaeConfig):
        raise PretrainingError(
            f"tube masking trains a VideoMAE, and the config's backbone is a {type(backbone).__name__}; give a config "
            "whose backbone is a VideoMaeConfig"
        )
    if config.data.features is not None:
        raise PretrainingError(
            f"tube masking is of frames, got data.features={config.data.features}; set data.features=None"
        )
    try:
        return MaskedVideoMae(backbone, mask_ratio=masking.mask_ratio, decoder_depth=masking.decoder_depth)
    except ValueError as error:
        raise PretrainingError(str(error)) from error


def frames_alone(config: ExperimentConfig, annotations: Annotations) -> TrainingClips:
    """Augmented clips of every training video from any place of it, labelled or not, without its labels."""
    data = config.data
    whole = tuple(
        replace(video, actions=(Action(start_seconds=0.0, end_seconds=video.duration_seconds, label="frames"),))
        for video in (replace(video, labelled=None, left_out=()) for video in annotations.videos)
    )
    return training_clips(
        data.model_copy(update={"class_agnostic": True, "negative_share": 0.0, "sampling": _anywhere(data)}),
        config.augment,
        seed=config.training.seed,
        annotations=replace(annotations, videos=whole),
    )


def _anywhere(data: DataSettings) -> Any:
    """Windows of which any share of the video's only "action", all of it, is enough."""
    sampling = data.sampling
    return sampling.model_copy(update={"min_inside": 1e-9}) if isinstance(sampling, WindowSampling) else sampling


def load_frames(clips: TrainingClips, config: ExperimentConfig, *, processes: Processes) -> TrainingLoader:
    """Batches of those clips."""
    clip_bytes = config.data.clip_bytes(channels=config.backbone.out_channels)
    return load_epochs(clips, config.training, processes=processes, clip_bytes=clip_bytes)
