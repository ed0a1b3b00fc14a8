"""A config for new labels that goes on from a trained detector: its network, its clips, and a short training."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

from pydantic import ValidationError

from re2tal.config import ConfigError, ExperimentConfig, read_json_config
from re2tal.config.code import SettingsWriter
from re2tal.data import AGNOSTIC_CLASS, DataConfig, WindowSampling, find_class_names
from re2tal.experiments.warm_start import ClassChanges, compare_classes
from re2tal.labels import Choices, DataSet, Measures, SourceError, cache_mib_of, crop_of
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig
from re2tal.weights import WeightsError, WeightsFile, read_weights

__all__ = ["StartedConfig", "started_config"]

_SHARE_OF_EPOCHS = 4
"""A fresh network of the same size would get so many times the epochs."""
_LEAST_EPOCHS = 5
_WIDTH = 110


@dataclass(frozen=True, kw_only=True)
class StartedConfig:
    """What `re2tal init --start-from` writes."""

    config: ExperimentConfig
    changes: ClassChanges
    notes: tuple[str, ...]
    """What of the checkpoint's settings does not suit the data and was changed, or should be looked at."""
    text: str
    """Of the config file."""


def started_config(
    checkpoint: Path,
    data: DataSet,
    measures: Measures,
    fresh: Choices,
    *,
    name: str,
    folder: Path,
    renamed: Mapping[str, str],
    memory_mib: int,
) -> StartedConfig:
    """The experiment of a checkpoint on other data, where those allow its settings.

    Args:
        checkpoint: of our training, of a whole detector.
        data: annotations and videos.
        measures: of its training videos.
        fresh: what would be chosen for them without a checkpoint.
        name: of the experiment.
        folder: that the config file will lie in.
        renamed: classes whose names changed, in the checkpoint -> in the data.
        memory_mib: of the machine.

    Raises:
        SourceError: the checkpoint cannot be started from, or its network cannot take the videos.
    """
    try:
        weights = _read(checkpoint)
        assert weights.config is not None and weights.class_names is not None
        old = read_json_config(weights.config, source=checkpoint)
        names = (AGNOSTIC_CLASS,) if old.data.class_agnostic else find_class_names(data.annotations)
        changes = compare_classes(weights.class_names, names, renamed=renamed)
        notes: list[str] = []
        config = old.model_copy(
            update={
                "name": name,
                "work_dir": folder.resolve() / "exps",
                "backbone": _backbone(old, weights, checkpoint),
                "augment": _augment(old, measures, notes=notes),
                "data": _data(old, data, measures, fresh, notes=notes, memory_mib=memory_mib),
                "postprocess": _postprocess(old, fresh, notes=notes),
                "evaluation": old.evaluation.model_copy(update={"blocked": None}),
                "training": _training(old, fresh, checkpoint, renamed=renamed),
            }
        )
        config = ExperimentConfig.model_validate(dict(config))
    except ConfigError as error:
        raise SourceError(
            f"{error}; to start from such a checkpoint, copy that config, change its data, and set "
            f"training.start_from={checkpoint}"
        ) from error
    except (WeightsError, ValidationError) as error:
        raise SourceError(f"cannot start from {checkpoint}: {_first_line(error)}") from error
    seen = config.data.sampling
    if isinstance(seen, WindowSampling):
        window = seen.num_steps * seen.frames_in_step / measures.fps
        if measures.long > window:
            notes.append(
                f"One action in twenty lasts more than {measures.long:.1f} s and does not fit into a window of "
                f"{window:.1f} s; raise frame_stride of the sampling, or train a fresh network (re2tal init)."
            )
    text = _text(config, data, measures, changes=changes, notes=notes, fresh=fresh, folder=folder)
    return StartedConfig(config=config, changes=changes, notes=tuple(notes), text=text)


def _read(checkpoint: Path) -> WeightsFile:
    if not checkpoint.is_file():
        raise SourceError(f"there is no checkpoint {checkpoint}; give a best.pth or epoch_<n>.pth to --start-from")
    weights = read_weights(checkpoint)
    if weights.layout.part != "detector" or weights.config is None or weights.class_names is None:
        raise SourceError(
            f"--start-from takes a checkpoint of re2tal train, which tells its settings and classes; {checkpoint} "
            f"holds a {weights.layout} without them: give it to a config as training.start_from or backbone.pretrained"
        )
    return weights


# What each part becomes


def _backbone(old: ExperimentConfig, weights: WeightsFile, checkpoint: Path) -> Any:
    alpha, beta = weights.coefficients or (old.backbone.alpha, old.backbone.beta)
    # All weights come with the detector's; a backbone that is not trained has to name a file all the same.
    names_one = old.backbone.frozen or old.backbone.adapter is not None
    file = checkpoint if weights.rest_sha256 is None else old.backbone.pretrained
    pretrained = file.resolve() if names_one and file is not None else None
    return old.backbone.model_copy(update={"alpha": alpha, "beta": beta, "pretrained": pretrained})


def _data(
    old: ExperimentConfig,
    data: DataSet,
    measures: Measures,
    fresh: Choices,
    *,
    notes: list[str],
    memory_mib: int,
) -> DataConfig:
    had = old.data
    crop, train, test = had.crop_size, had.short_side_train, had.short_side_test
    room = (
        (test, int(test * measures.aspect + 0.5)) if measures.aspect >= 1 else (int(test / measures.aspect + 0.5), test)
    )
    if crop[0] > room[0] or crop[1] > room[1]:
        crop = crop_of(measures, pixels=crop[0] * crop[1])
        train, test = round(min(crop) * train / test), min(crop)
        notes.append(
            f"Frames are shown at {crop[1]} x {crop[0]} pixels (width x height) instead of {had.crop_size[1]} x "
            f"{had.crop_size[0]}, which the videos, of another shape, do not fill."
        )
    sampling = had.sampling
    frames = sampling.num_steps * sampling.frames_per_step
    rate = (
        measures.fps / sampling.frame_stride
        if isinstance(sampling, WindowSampling)
        else (frames / measures.video_median)
    )
    return DataConfig(
        annotations=data.annotations.path.resolve(),
        videos=data.videos.resolve(),
        video_pattern=data.video_pattern,
        allow_links=data.allow_links,
        class_agnostic=had.class_agnostic,
        ignore_labels=had.ignore_labels,
        train_subset=data.train_subset,
        test_subset=data.test_subset,
        max_broken_share=had.max_broken_share,
        negative_share=fresh.negative_share,
        sampling=sampling,
        short_side_train=train,
        short_side_test=test,
        crop_size=crop,
        cache_mib=cache_mib_of(measures, per_second=rate, short_side=train, memory_mib=memory_mib),
    )


def _augment(old: ExperimentConfig, measures: Measures, *, notes: list[str]) -> Any:
    augment = old.augment
    if measures.has_sides and isinstance(augment, AugmentConfig) and augment.flip_probability:
        notes.append("Clips are no longer mirrored: the names of the classes tell left from right.")
        return augment.model_copy(update={"flip_probability": 0.0})
    return augment


def _postprocess(old: ExperimentConfig, fresh: Choices, *, notes: list[str]) -> Any:
    had = old.postprocess
    if had.video_labels is not None:
        notes.append("Segments are not labelled by a classifier of whole videos: the checkpoint's knows other videos.")
    nms = had.nms.model_copy(update={"max_segments": max(had.nms.max_segments, fresh.max_segments)})
    return had.model_copy(update={"nms": nms, "video_labels": None})


def _training(old: ExperimentConfig, fresh: Choices, checkpoint: Path, *, renamed: Mapping[str, str]) -> TrainingConfig:
    """Few epochs; the rates are those of the checkpoint's training."""
    had = old.training
    wanted = fresh.epochs * had.batch_size / fresh.batch_size / _SHARE_OF_EPOCHS
    epochs = max(ceil(wanted), _LEAST_EPOCHS)
    every = max(epochs // 4, 1)
    changed = {
        "epochs": epochs,
        "cosine_epochs": None,
        "warmup_epochs": min(had.warmup_epochs, 1.0),
        "anneal_epochs": 0.0,
        "eval_from": every - 1,
        "eval_every": every,
        "checkpoint_every": every,
        "start_from": checkpoint.resolve(),
        "start_from_classes": dict(renamed),
    }
    return TrainingConfig.model_validate({**dict(had), **changed})


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc']))} {problem['msg'].removeprefix('Value error, ')}".strip()
    return str(error)


# The file


def _text(
    config: ExperimentConfig,
    data: DataSet,
    measures: Measures,
    *,
    changes: ClassChanges,
    notes: list[str],
    fresh: Choices,
    folder: Path,
) -> str:
    writer = SettingsWriter(folder)
    start = config.training.start_from
    about = (
        f"Written by re2tal init --start-from for {measures.num_train} training videos with {measures.num_actions} "
        f"actions, and {measures.num_test} videos to test on. Network, clips and augmentation are those of the "
        f"checkpoint, so that all of its weights fit. Its classes: {changes}. re2tal show prints every setting."
    )
    epochs = (
        f"A fresh network would get about {fresh.epochs} epochs; this one knows the videos' kind, so that a "
        "quarter should do. Where the mAP still rises at the end, raise epochs."
    )
    comments = {
        "backbone": f"The network that looks at the pictures. Its weights, too, come from {start}.",
        "data": " ".join(["The new labels and videos.", *notes]),
        "training": epochs,
    }
    parts = [
        f"{_comment(comments[part])}{part} = {writer.code(getattr(config, part))}"
        if part in comments
        else f"{part} = {writer.code(getattr(config, part))}"
        for part in ("backbone", "pyramid", "head", "data", "augment", "postprocess", "evaluation", "training")
    ]
    names = [part.partition(" = ")[0].rpartition("\n")[2] for part in parts]
    arguments = "".join(f"    {name}={name},\n" for name in names)
    whole = f'config = ExperimentConfig(\n    name={config.name!r},\n    work_dir=HERE / "exps",\n{arguments})'
    title = config.name.replace("\\", "/").replace('"', "'")
    head = f'"""{title}: temporal action localization.\n\n{fill(_quoted(about), _WIDTH)}\n"""'
    imports = "from pathlib import Path\n\n" + writer.imports({"re2tal.config": {"ExperimentConfig"}})
    here = "HERE = Path(__file__).resolve().parent"
    return "\n\n".join([head, imports, here, *parts, whole]) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "/").replace('"""', "'''")


def _comment(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False) + "\n"
