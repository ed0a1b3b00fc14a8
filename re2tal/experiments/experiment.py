"""From a config to a trained and tested detector: everything built, handed to each other, and run."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import nn

from re2tal import __version__
from re2tal.common.atomic import atomic_text, require_writable
from re2tal.common.untrusted import some
from re2tal.config import ExperimentConfig
from re2tal.config.building import build_detector, count_parameters
from re2tal.data import (
    TrainingClips,
    TrainingSet,
    annotations_of,
    stored_features,
    training_clips,
)
from re2tal.data.annotations import AnnotationProblem, Annotations
from re2tal.detections import write_detections
from re2tal.evaluation import PrecisionResult
from re2tal.experiments.finetuning import FinetuneConfig, TrimmedTrainingSet
from re2tal.experiments.loading import load_epochs
from re2tal.experiments.planning import explaining_lack_of_memory, resumed_or_planned
from re2tal.experiments.pretrained import start_from_pretrained
from re2tal.experiments.resumed import compare_with_resumed
from re2tal.experiments.run_folders import find_run
from re2tal.experiments.tester import Tester
from re2tal.experiments.warm_start import require_other_folder, start_from_detector
from re2tal.inference import completed_by_pretrained, require_features_of, tell_of_sharing
from re2tal.networks.backbones import Backbone, pixel_norm
from re2tal.networks.detector import Detector
from re2tal.reversible.devices import traits_of
from re2tal.training import (
    CheckpointError,
    Processes,
    RunFolder,
    Trainer,
    log,
    newest_good,
    read_checkpoint,
    require_checkpoint,
    seed_all,
    tensorboard_logger,
)
from re2tal.weights import load_detector, read_weights, write_part

__all__ = [
    "Tester",
    "broken_lister",
    "describe_run",
    "find_run",
    "newest",
    "note_config",
    "prepare_process",
    "test",
    "train",
]


def train(
    config: ExperimentConfig,
    *,
    processes: Processes,
    folder: RunFolder,
    resume: Path | Literal["auto"] | None = None,
    evaluate: bool = True,
    deterministic: bool = True,
    console: Console | None = None,
) -> None:
    """Train from pixels; `folder` then holds checkpoints, `best.pth`, log and metrics.

    Args:
        config: see there.
        processes: the processes that share the work.
        folder: of the run.
        resume: a whole state to go on from; "auto": the newest good one in `folder`, if there is any.
        evaluate: whether epochs are evaluated on the test videos.
        deterministic: whether cuDNN takes kernels that repeat exactly.
        console: of a terminal, for a live bar.

    Raises:
        Stopped: SIGTERM or SIGINT came; everything is saved.
    """
    prepare_process(config.training.seed, device=processes.device, deterministic=deterministic)
    annotations = annotations_of(config.data)
    clips = _training_clips(config, annotations, device=processes.device)
    tensorboard = tensorboard_logger(config.training, folder=folder, processes=processes)
    tester = Tester(config, processes=processes, annotations=annotations, tensorboard=tensorboard) if evaluate else None
    if tester is not None:
        tester.require_actions()
        tester.require_files()
    model = build_detector(config, num_classes=len(clips.class_names)).to(processes.device)
    checkpoint = newest(folder, processes=processes) if resume == "auto" else resume
    started = _start(model, config, class_names=clips.class_names, folder=folder, resumed=checkpoint)
    clip_bytes = config.data.clip_bytes(channels=config.backbone.out_channels)
    loader = load_epochs(clips, config.training, processes=processes, clip_bytes=clip_bytes)
    note_config(config, folder.config, processes=processes)
    started |= _spend_memory(config, model, processes=processes, resumed=checkpoint)
    trainer = Trainer(
        model,
        config=config.training,
        loader=loader,
        processes=processes,
        folder=folder,
        about=describe_run(config, clips.class_names) | started,
        tensorboard=tensorboard,
        after_best=partial(_write_adapter, folder.adapter, model, config=config),
    )
    _introduce(config, model=model, clips=clips, problems=annotations.problems, processes=processes)
    # The weights start alike in every process; dropout must not.
    seed_all(config.training.seed + processes.rank)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    require_features_of(model.backbone, config=config.backbone, stored=stored_features(clips))
    with explaining_lack_of_memory(config, device=processes.device, processes=processes.world_size):
        trainer.run(
            None if tester is None else tester.evaluate,
            after_epoch=broken_lister(clips, processes=processes),
            console=console,
        )


def test(
    config: ExperimentConfig,
    *,
    processes: Processes,
    folder: RunFolder,
    checkpoint: Path | None = None,
    evaluate: bool = True,
    deterministic: bool = True,
) -> PrecisionResult | None:
    """Detect in the test videos with the weights in `checkpoint`, by default the run's best.

    Writes `detections.json` and, unless `evaluate` is False, `metrics.json` into `folder`. Every process gets
    the result.
    """
    prepare_process(config.training.seed, device=processes.device, deterministic=deterministic)
    tester = Tester(config, processes=processes)
    path = checkpoint or _best_of(config, folder)
    found = folder.path / "detections.json"
    require_writable(found)
    model, known = _load_for_testing(path, config, class_names=tester.class_names)
    model = model.to(processes.device)
    if tester.video_labels is None:
        tester.detected_names = known
    require_features_of(model.backbone, config=config.backbone, stored=stored_features(tester.clips))
    log.info("testing on %d clips", len(tester.clips))
    tell_of_sharing(model.backbone, config=config.data)
    note_config(config, folder.tested_config, processes=processes)
    detections = tester.detect(model)
    if processes.is_main:
        write_detections(found, detections=detections, class_names=tester.detected_names)
        tester.write_truth(folder.path / "ground_truth.json")
    if not evaluate:
        return None
    result = tester.measure(detections)
    if processes.is_main:
        with atomic_text(folder.path / "metrics.json") as file:
            file.write(json.dumps({**result.metrics, **result.as_json()}, indent=2) + "\n")
    return result


def prepare_process(seed: int, *, device: torch.device, deterministic: bool) -> None:
    """What comes before anything is drawn or computed."""
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    if device.type == "cuda":
        # Kernels that add in any order have repeating versions, a little slower; torch names those that have none.
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if not deterministic:
        log.info(
            "--disable_deterministic: two runs of one seed, or a resumed and an undisturbed one, may differ in last "
            "digits and drift apart, since cuDNN takes what it times as fastest and others add in any order; rewired "
            "networks need the same kernels forward and backward, and warn if recovered streams differ"
        )
    seed_all(seed)


def newest(folder: RunFolder, *, processes: Processes) -> Path | None:
    """What the main process finds to go on from."""
    found = processes.from_main(newest_good(folder) if processes.is_main else None)
    if found is None:
        log.info("there is no checkpoint in %s: the run begins", folder.checkpoints)
    return found


def note_config(config: ExperimentConfig | FinetuneConfig, path: Path, *, processes: Processes) -> None:
    """For who looks at the run later."""
    if processes.is_main:
        with atomic_text(path) as file:
            file.write(config.model_dump_json(indent=2) + "\n")


def describe_run(config: ExperimentConfig | FinetuneConfig, class_names: Sequence[str]) -> dict[str, Any]:
    """What checkpoints tell beside the state, so that whoever reads one can rebuild the model."""
    return {
        "config": config.model_dump_json(),
        "class_names": list(class_names),
        "pixel_norm": pixel_norm(),
        "re2tal": __version__,
    }


def _training_clips(config: ExperimentConfig, annotations: Annotations, *, device: torch.device) -> TrainingClips:
    later = traits_of(device).changes_pixels
    seed = config.training.seed
    return training_clips(config.data, config.augment, seed=seed, annotations=annotations, changed_later=later)


def _start(
    model: Detector,
    config: ExperimentConfig,
    *,
    class_names: tuple[str, ...],
    folder: RunFolder,
    resumed: Path | None,
) -> dict[str, Any]:
    """Give a fresh model the weights that its run starts from, if any; returns what checkpoints tell of it.

    A run that is resumed has its own weights, and keeps what its checkpoints told.
    """
    start_from = config.training.start_from
    if resumed is not None:
        compare_with_resumed(resumed, config, class_names=class_names)
        told = read_checkpoint(resumed, mmap=True).get("started_from")
        if start_from is not None:
            log.info("training.start_from is not read: the run goes on from %s", resumed)
        return {} if told is None else {"started_from": told}
    if start_from is None:
        start_from_pretrained(model.backbone, config.backbone)
        return {}
    require_other_folder(start_from, folder)
    return {"started_from": start_from_detector(model, config, class_names=class_names)}


def _write_adapter(path: Path, model: Detector, checkpoint: Mapping[str, Any], *, config: ExperimentConfig) -> None:
    """What was trained of the best weights, if it is an adapter and more than nothing of the backbone was not."""
    backbone = model.backbone
    if config.backbone.adapter is None or not isinstance(backbone, Backbone):
        return
    if frozen := {f"backbone.{name}" for name in backbone.frozen_names()}:
        write_part(
            path, checkpoint, frozen=frozen, kind=config.backbone.weight_names, rewired=config.backbone.is_rewired
        )
        log.info("what was trained of it: %s (%.1f MB)", path, path.stat().st_size / 1e6)


def _spend_memory(
    config: ExperimentConfig, model: Detector, *, processes: Processes, resumed: Path | None
) -> dict[str, Any]:
    """With backbone.reversible="auto", choose what the backbone stores; returns what checkpoints tell of it."""
    if config.backbone.reversible != "auto" or config.backbone.frozen:
        return {}
    plan = None
    if processes.is_main:
        told = None if resumed is None else read_checkpoint(resumed, mmap=True).get("storage")
        plan = resumed_or_planned(
            config, told, device=processes.device, backbone=model.backbone, processes=processes.world_size
        )
        log.info("memory: %s", plan)
    plan = processes.from_main(plan)
    assert plan is not None
    plan.apply(model.backbone)
    return {"storage": plan.as_json()}


def _introduce(
    config: ExperimentConfig,
    *,
    model: nn.Module,
    clips: TrainingClips,
    problems: Sequence[AnnotationProblem],
    processes: Processes,
) -> None:
    parameters = count_parameters(model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    negatives = clips.num_negatives if isinstance(clips, TrainingSet) else 0
    log.info(
        "%s: %d training %s, %d classes; %.2f M parameters, %.2f M of them trained; %d process(es) on %s",
        config.name,
        len(clips),
        f"clips, {negatives} of them without an action" if negatives else "videos",
        len(clips.class_names),
        parameters / 1e6,
        trained / 1e6,
        processes.world_size,
        processes.device,
    )
    log.debug("config %s", config.model_dump_json())
    if problems and processes.is_main:
        log.warning("%d annotations were clamped or left out, for example: %s", len(problems), problems[0])
        for problem in problems:
            log.debug("annotation: %s", problem)


def broken_lister(clips: TrainingClips | TrimmedTrainingSet, *, processes: Processes) -> Callable[[], None]:
    """A function that tells which training videos have been found broken since it was last called."""
    told: set[str] = set()

    def tell() -> None:
        broken = dict(processes.gather(list(clips.broken.items())))
        for video_id in sorted(set(broken) - told):
            told.add(video_id)
            if processes.is_main:
                log.warning("training goes on without video %s: %s", video_id, broken[video_id])
        if broken and processes.is_main:
            log.info("%d of %d training videos are broken", len(broken), len(clips))

    return tell


def _load_for_testing(
    path: Path, config: ExperimentConfig, *, class_names: tuple[str, ...]
) -> tuple[Detector, tuple[str, ...]]:
    """The detector and the classes it knows, of which the data may lack some."""
    require_checkpoint(path)
    weights = read_weights(path)
    if weights.class_names is None:
        log.info(
            "%s does not name its classes; they are taken in the data's order: %s (%d)",
            path,
            some(class_names),
            len(class_names),
        )
    known = weights.class_names or class_names
    if unknown := [name for name in class_names if name not in known]:
        raise CheckpointError(
            f"the data has the classes {some(map(repr, unknown))}, which {path} does not know; it was trained on "
            f"{some(map(repr, known))}. Leave them out by data.ignore_labels (and data.classes, if that lists them), "
            f"give them the names that it knows, or train on them with training.start_from={path}"
        )
    if lacking := [name for name in known if name not in class_names]:
        log.info("the data shows no %s, which the network knows and may find all the same", some(map(repr, lacking)))
    model = build_detector(config, num_classes=len(known))
    weights = completed_by_pretrained(weights, model, config.backbone)
    load_detector(model, weights, kind=config.backbone.weight_names, reversible=config.backbone.is_rewired)
    log.info("weights of %s", weights)
    return model, known


def _best_of(config: ExperimentConfig, folder: RunFolder) -> Path:
    if folder.best.is_file():
        return folder.best
    others = sorted(config.work_dir.glob("gpu*_id*/checkpoint/best.pth"))
    hint = "".join(f"\n  --checkpoint {other}" for other in others)
    raise CheckpointError(
        f"there is no {folder.best}; train first, or say which checkpoint to test" + (f":{hint}" if hint else "")
    )
