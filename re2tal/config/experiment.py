"""One experiment as a value: read from a Python file, changed from the command line, stored as JSON."""

import ast
import json
import runpy
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from re2tal.common.extension import ExtensionError, OneOf, built_in_at, importing_sources, spelled_out
from re2tal.common.settings import Settings
from re2tal.common.untrusted import JsonError, brief, parse_json, shown, some
from re2tal.config.former import former_names, without_removed
from re2tal.data import DataConfig, DataSettings, FeatureDataConfig
from re2tal.detections import PostprocessConfig
from re2tal.evaluation import EvaluationConfig
from re2tal.networks.backbones import BackboneConfig, PrecomputedConfig
from re2tal.networks.heads import HeadConfig, HeadSettings, TridentHeadConfig
from re2tal.networks.pyramid import MaxPoolPyramidConfig, PyramidConfig, PyramidSettings, SgpPyramidConfig
from re2tal.training import TrainingConfig
from re2tal.training.annealing import require_anneal_range
from re2tal.video import AugmentConfig, AugmentSettings

__all__ = ["ConfigError", "ExperimentConfig", "load_config", "load_settings", "override", "read_json_config"]

C = TypeVar("C", bound=Settings)


class ConfigError(ValueError):
    """A config that cannot be read, or says something impossible, and why."""


class ExperimentConfig(Settings):
    """Everything that decides what a run does."""

    name: str = Field(min_length=1)
    """What the run is called in logs and tables."""
    work_dir: Path
    """Runs write to `<work_dir>/gpu<processes>_id<id>/`."""
    backbone: BackboneConfig
    pyramid: Annotated[
        PyramidSettings,
        OneOf(PyramidConfig, SgpPyramidConfig, MaxPoolPyramidConfig, once_alone=True),
    ] = PyramidConfig()
    head: Annotated[HeadSettings, OneOf(HeadConfig, TridentHeadConfig, once_alone=True)] = HeadConfig()
    data: Annotated[DataSettings, OneOf(DataConfig, FeatureDataConfig, once_alone=True)]
    augment: Annotated[AugmentSettings, OneOf(AugmentConfig)] = AugmentConfig()
    postprocess: PostprocessConfig = PostprocessConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    training: TrainingConfig

    @model_validator(mode="after")
    def _pyramid_takes_the_clips(self) -> "ExperimentConfig":
        self.pyramid.require_steps(self.data.sampling.num_steps)
        return self

    @model_validator(mode="after")
    def _features_are_of_a_frozen_backbone(self) -> "ExperimentConfig":
        if self.data.features is not None and not self.backbone.frozen:
            raise ValueError(
                f"data.features = {self.data.features} holds what a backbone that no longer changes makes of the "
                "videos, got backbone.frozen=False; set backbone.frozen=True and backbone.pretrained to its weights, "
                "or data.features=None"
            )
        return self

    @model_validator(mode="after")
    def _features_of_others_pass_the_backbone_by(self) -> "ExperimentConfig":
        data, backbone = self.data, self.backbone
        if isinstance(data, FeatureDataConfig) != isinstance(backbone, PrecomputedConfig):
            raise ValueError(
                "features of others (data.kind=features) go with backbone.kind=precomputed, and videos with a network, "
                f"got {type(data).__name__} and {type(backbone).__name__}; set both alike"
            )
        if isinstance(data, FeatureDataConfig):
            channels = [files.channels for files in data.files]
            if sum(channels) != backbone.out_channels:
                raise ValueError(
                    f"backbone.out_channels must be the channels of all data.files together, {channels}, got "
                    f"{backbone.out_channels}; write {sum(channels)}"
                )
        return self

    @model_validator(mode="after")
    def _backbone_takes_the_clips(self) -> "ExperimentConfig":
        frames = self.data.sampling.num_steps * self.data.sampling.frames_per_step
        self.backbone.require_whole_chunks(frames)
        self.backbone.require_clips(num_frames=frames, crop_size=self.data.crop_size)
        return self

    @model_validator(mode="after")
    def _memory_is_there_to_be_spent(self) -> "ExperimentConfig":
        if self.training.memory is not None and self.backbone.reversible != "auto":
            raise ValueError(
                f"training.memory is what activations are stored in, got {self.training.memory} with "
                f"backbone.reversible={self.backbone.reversible}, which stores the same in any; set it to auto, or "
                "training.memory=None"
            )
        return self

    @model_validator(mode="after")
    def _recall_is_of_segments(self) -> "ExperimentConfig":
        evaluation = self.evaluation
        if self.postprocess.point_seconds is not None and (evaluation.recall_multiples or evaluation.average_recall_at):
            raise ValueError(
                "evaluation.recall_multiples and evaluation.average_recall_at are of segments at tIoU, and with "
                f"postprocess.point_seconds={self.postprocess.point_seconds:g} detections are points; leave them empty"
            )
        return self

    @model_validator(mode="after")
    def _there_is_something_to_anneal(self) -> "ExperimentConfig":
        require_anneal_range(self.training.anneal_epochs, start=(self.backbone.alpha, self.backbone.beta))
        return self

    @model_validator(mode="after")
    def _video_labels_are_for_class_agnostic_detectors(self) -> "ExperimentConfig":
        labels = self.postprocess.video_labels
        if labels is None:
            return self
        if not self.data.class_agnostic:
            raise ValueError(
                "postprocess.video_labels labels what a class-agnostic detector finds, got "
                f"{labels.path} with data.class_agnostic=False; set data.class_agnostic=True, or "
                "postprocess.video_labels=None"
            )
        if self.data.sampling.kind == "window" and not self.postprocess.nms.per_class:
            raise ValueError(
                "the copies of a segment, one for each of the video's classes, would suppress each other where windows "
                "are merged; set postprocess.nms.per_class=True"
            )
        return self


def load_config(path: Path | str, options: Sequence[str] = ()) -> ExperimentConfig:
    """Run a config file, take its `config`, and apply `options` like `training.epochs=3`."""
    return load_settings(path, options, kind=ExperimentConfig)


def load_settings(path: Path | str, options: Sequence[str] = (), *, kind: type[C]) -> C:
    """Run a config file whose `config` is of a certain kind of settings, take it, and apply `options`."""
    path = Path(path)
    if not path.is_file():
        what = f"{path} is a folder" if path.is_dir() else f"there is no config file {path}"
        raise ConfigError(f"{what}; give the path of a Python file that assigns `config`")
    try:
        with former_names(path):
            names = runpy.run_path(str(path))
    except ValidationError as error:
        raise ConfigError(f"{path}{_line_of(error, path)}: {_explain(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{path}{_line_of(error, path)} cannot be run: {type(error).__name__}: {error}; correct the file"
        ) from error
    config = names.get("config")
    if not isinstance(config, kind):
        found = _with_article(type(config)) if "config" in names else "nothing"
        raise ConfigError(
            f"{path} must assign {_with_article(kind)} to `config`, it assigns {found}; `re2tal finetune` takes a "
            "FinetuneConfig, every other command an ExperimentConfig"
        )
    return override(config, options)


def _with_article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


def _line_of(error: BaseException, path: Path) -> str:
    """Where in a config file an error arose, as ", line 3"; empty if it did not reach a line of it."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def read_json_config(text: str | bytes, *, source: Path | str) -> ExperimentConfig:
    """The config that a checkpoint or a run's folder holds as JSON; code that it names is not executed."""
    try:
        values = without_removed(parse_json(text), source=source)
        config = ExperimentConfig.model_validate_json(json.dumps(values))
    except JsonError as error:
        raise ConfigError(f"the config in {source} is not readable JSON: {error}; give it by --config") from error
    except ValidationError as error:
        problems = error.errors(include_url=False)
        own = [
            item["input"]["source"] for item in problems if isinstance(item.get("ctx", {}).get("error"), ExtensionError)
        ]
        if own:
            raise ConfigError(
                f"the config in {source} needs {some(map(shown, own))}, and code that data names is not imported; "
                "give the config that it was trained with by --config"
            ) from error
        raise ConfigError(
            f"the config in {source} is not one of this version: {_explain(error)}; give the config file by --config"
        ) from error
    if (code := config.backbone.executed_file()) is not None:
        raise ConfigError(
            f"the config in {source} builds its backbone by {shown(code)}, and code that data names is not executed; "
            "give the config that it was trained with by --config"
        )
    return config


def override(config: C, options: Sequence[str]) -> C:
    """`config` with settings replaced, each written `key.sub=value`.

    Tuples, lists and None are written as in Python: `data.crop_size=(64,64)`, `training.clip_grad_norm=None`. They are
    read as literals; nothing is evaluated.
    """
    values = config.model_dump()
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"a config option is written key.sub=value, got {shown(option)}")
        _set(values, key.strip(), _parse(text), model=type(config))
    try:
        return type(config).model_validate(values, context=importing_sources())
    except ValidationError as error:
        raise ConfigError(f"with {some(options)}: {_explain(error)}") from error


def _parse(text: str) -> Any:
    # Numbers, booleans and names stay text: the setting's own type decides what "1" or "16" means.
    if text.startswith(("(", "[", "{")) or text == "None":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's parser, about code that is refused anyway
                return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ConfigError(f"{shown(text)} is no Python value; write for example (64,64) or ['a','b']") from error
    return text


def _set(values: dict[str, Any], key: str, value: Any, *, model: type[Settings]) -> None:
    """Replace the setting `key` in nested `values` of a `model`; an unknown key is answered with the nearest ones."""
    *path, last = key.split(".")
    place = values
    for depth, name in enumerate([*path, last]):
        if not isinstance(place, dict) or name not in place:
            raise ConfigError(_unknown_key(values, key, inside=key.split(".")[:depth], place=place))
        if depth < len(path):
            place = place[name]
    if last == "kind" and place[last] != value and path and built_in_at(model, path):
        return _set(values, ".".join(path), {last: value}, model=model)  # what another class has settings for differs
    try:
        if place[last] is None or isinstance(place[last], dict):
            value = spelled_out(value, built_in=built_in_at(model, [*path, last]))
        place[last] = value
    except ExtensionError as error:
        raise ConfigError(f"with {shown(key)}: {error}") from None


def _unknown_key(values: Mapping[str, Any], key: str, *, inside: Sequence[str], place: Any) -> str:
    near = get_close_matches(key, list(_keys(values)), n=2, cutoff=0.6)
    same_name = [known for known in _keys(values) if known.split(".")[-1] == key.split(".")[-1]]
    guesses = list(dict.fromkeys([*same_name, *near]))[:3]
    where = ".".join(inside) or "the config"
    has = f"{where} has {', '.join(place)}" if isinstance(place, dict) else f"{where} has no settings inside"
    if place is None:
        has = f"{where} is None, which has nothing inside; set {where} itself"
    return f"there is no setting {shown(key)}" + _did_you_mean(guesses) + f"; {has}"


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")


def _explain(error: ValidationError) -> str:
    """What is wrong, one line per setting."""
    known = {kind.__name__: kind for kind in _settings(Settings)}
    lines = []
    for problem in error.errors(include_url=False):
        key = brief(".".join(str(part) for part in problem["loc"]))
        if problem["type"] == "extra_forbidden":
            owners = [known[error.title]] if error.title in known and len(problem["loc"]) == 1 else known.values()
            names = sorted({name for owner in owners for name in owner.model_fields})
            near = get_close_matches(str(problem["loc"][-1]), names, n=2)
            lines.append(f"{error.title} has no setting {key!r}" + _did_you_mean(near))
        elif problem["type"] == "missing":
            lines.append(f"{error.title} needs the setting {key!r}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{error.title}.{key}: {message}; got {shown(problem['input'])}" if key else message)
    return "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more are wrong" if len(lines) > 5 else "")


def _did_you_mean(guesses: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(map(repr, guesses))}?" if guesses else ""


def _settings(kind: type[Settings]) -> Iterator[type[Settings]]:
    for child in kind.__subclasses__():
        yield child
        yield from _settings(child)
