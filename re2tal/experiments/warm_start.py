"""A run that begins with the weights of a trained detector, whose classes may have been others.

K classes of the run, J classes of the checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.untrusted import JsonError, parse_json, shown, some
from re2tal.config import ExperimentConfig
from re2tal.data.features import differences
from re2tal.inference import completed_by_pretrained
from re2tal.networks.backbones import pixel_norm
from re2tal.networks.detector import Detector
from re2tal.networks.heads import HeadSettings
from re2tal.training import CheckpointError, RunFolder, log
from re2tal.weights import WeightsFile, hash_of_weights, load_detector, read_weights

__all__ = ["ClassChanges", "class_axes", "compare_classes", "require_other_folder", "start_from_detector"]


@dataclass(frozen=True, kw_only=True)
class ClassChanges:
    """How the classes of a run differ from those of the checkpoint that it starts from."""

    names: tuple[str, ...]
    """K, of the run."""
    sources: tuple[int | None, ...]
    """(K,) which of the J classes each one was; None for those that are new."""
    removed: tuple[str, ...]
    """Of the checkpoint, which the run does not have."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Classes of the run that the checkpoint knows, under this name or another."""
        return tuple(name for name, source in zip(self.names, self.sources, strict=True) if source is not None)

    @property
    def added(self) -> tuple[str, ...]:
        """Classes of the run that begin fresh."""
        return tuple(name for name, source in zip(self.names, self.sources, strict=True) if source is None)

    def __str__(self) -> str:
        parts = {"kept": self.kept, "new": self.added, "left out": self.removed}
        return ", ".join(f"{len(names)} {what} ({some(names)})" for what, names in parts.items() if names)


def compare_classes(old: Sequence[str], new: Sequence[str], *, renamed: Mapping[str, str]) -> ClassChanges:
    """Which class of a checkpoint each class of a run was.

    Args:
        old: of the checkpoint, in the order of its outputs.
        new: of the run, in the order of its outputs.
        renamed: names that changed, old -> new.

    Raises:
        CheckpointError: `renamed` names a class that is not there, or two classes would become one.
    """
    for name, known, where in (
        *((name, old, "the checkpoint") for name in renamed),
        *((name, new, "the data") for name in renamed.values()),
    ):
        if name not in known:
            raise CheckpointError(
                f"training.start_from_classes renames classes of the checkpoint to classes of the data, and {where} "
                f"has no class {shown(name)}; it has {some(known)}"
            )
    now = [renamed.get(name, name) for name in old]
    for name in new:
        if now.count(name) > 1:
            twice = [then for then, new_name in zip(old, now, strict=True) if new_name == name]
            raise CheckpointError(
                f"{' and '.join(map(shown, twice))} of the checkpoint would both become {shown(name)}, which can take "
                "over the weights of one; in training.start_from_classes, rename one of them at most"
            )
    return ClassChanges(
        names=tuple(new),
        sources=tuple(now.index(name) if name in now else None for name in new),
        removed=tuple(then for then, name in zip(old, now, strict=True) if name not in new),
    )


def class_axes(
    head: HeadSettings, *, in_channels: int, strides: Sequence[int], num_classes: int
) -> dict[str, tuple[int, ...]]:
    """Where the classes lie in the tensors of a head: by name, the axes along which there is one place for each.

    They are found by comparing the shapes of two heads, of which one has a class more; both are built without values.

    Raises:
        CheckpointError: the head has something else than one place for each class, so that it cannot be told which
            places are of which class.
    """
    axes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        shapes, larger = (
            {
                name: tuple(value.shape)
                for name, value in _module(head, in_channels, count, strides).state_dict().items()
            }
            for count in (num_classes, num_classes + 1)
        )
    for name in {**shapes, **larger}:  # of which some may be there for a certain number of classes alone
        shape, other = shapes.get(name, ()), larger.get(name, ())
        grown = [axis for axis, (size, more) in enumerate(zip(shape, other, strict=False)) if size != more]
        regular = all(shape[axis] == num_classes and other[axis] == num_classes + 1 for axis in grown)
        if (name in shapes) != (name in larger) or len(other) != len(shape) or not regular:
            raise CheckpointError(
                f"training.start_from with other classes: {name} of {type(head).__name__} is "
                f"{shapes.get(name, 'absent')} for {num_classes} classes and {larger.get(name, 'absent')} for one more;"
                " which places are of which class cannot be told: a head that is to take over classes has one place "
                "for each along an axis (docs/extending.md)"
            )
        if grown:
            axes[name] = tuple(grown)
    return axes


def _module(head: HeadSettings, in_channels: int, num_classes: int, strides: Sequence[int]) -> nn.Module:
    built: Any = head.build(in_channels=in_channels, num_classes=num_classes, strides=strides)
    assert isinstance(built, nn.Module), "a head is a module"
    return built


def with_classes(theirs: Tensor, ours: Tensor, *, axes: Sequence[int], sources: Sequence[int | None]) -> Tensor:
    """`ours`, with what `theirs` holds of the classes that both have.

    Args:
        theirs: with J places along each of the axes.
        ours: with K places along them, else of the same shape.
        axes: that the classes lie along.
        sources: (K,) see `ClassChanges`.
    """
    kept = [(place, source) for place, source in enumerate(sources) if source is not None]
    places = [
        torch.tensor([place for place, _ in kept], dtype=torch.int64) if axis in axes else None
        for axis in range(ours.ndim)
    ]
    taken = theirs
    for axis in axes:
        taken = taken.index_select(axis, torch.tensor([source for _, source in kept], dtype=torch.int64))
    result = ours.detach().clone()
    index = [torch.arange(size) if place is None else place for size, place in zip(ours.shape, places, strict=True)]
    result[torch.meshgrid(*index, indexing="ij")] = taken.to(result.dtype)
    return result


def start_from_detector(model: Detector, config: ExperimentConfig, *, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Load the detector in `training.start_from` into `model`, which has fresh weights.

    Args:
        model: what `config` describes.
        config: see there.
        class_names: of the model's outputs.

    Returns:
        What the checkpoints of the run tell of it, of plain types.

    Raises:
        WeightsError: there is no such file, or something other than the classes differs; the model is left as it was.
    """
    path = config.training.start_from
    assert path is not None
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path} to start from; correct training.start_from")
    file = completed_by_pretrained(read_weights(path), model, config.backbone)
    _require_alike(file, config)
    old = _class_names(file, class_names, renamed=config.training.start_from_classes)
    changes = compare_classes(old, class_names, renamed=config.training.start_from_classes)
    fingerprint = hash_of_weights(file.tensors)
    if changes.sources != tuple(range(len(old))):
        axes = class_axes(
            config.head,
            in_channels=model.pyramid.out_channels,
            strides=model.pyramid.strides,
            num_classes=len(old),
        )
        file = replace(file, tensors=dict(_adapted(file.tensors, model, axes=axes, changes=changes, num_old=len(old))))
    load_detector(
        model,
        file,
        kind=config.backbone.weight_names,
        reversible=config.backbone.is_rewired,
        fix=_advice(file, config),
    )
    log.info("starts from %s: classes %s", file, changes)
    if not changes.kept:
        log.warning("%s and the data have no class in common: what the head knows of classes begins fresh", path)
    return {
        "file": str(path),
        "weights_sha256": fingerprint,
        "kept": list(changes.kept),
        "added": list(changes.added),
        "removed": list(changes.removed),
        "renamed": dict(config.training.start_from_classes),
    }


def require_other_folder(path: Path | None, folder: RunFolder) -> None:
    """Refuse to start from a checkpoint that the run would overwrite."""
    if path is not None and path.resolve().is_relative_to(folder.checkpoints.resolve()):
        raise CheckpointError(
            f"training.start_from, {path}, lies where this run writes its own checkpoints and would be replaced; give "
            "another --id or work_dir, or --resume auto to go on with the earlier run"
        )


def _adapted(
    tensors: Mapping[str, Tensor],
    model: Detector,
    *,
    axes: Mapping[str, tuple[int, ...]],
    changes: ClassChanges,
    num_old: int,
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the file, those with classes in them as the model has them; what does not fit is left as it is."""
    fresh = model.state_dict()
    for name, theirs in tensors.items():
        along, ours = axes.get(name.removeprefix("head.")), fresh.get(name)
        if name.startswith("head.") and along and ours is not None and ours.ndim == theirs.ndim:
            wanted = tuple(num_old if axis in along else size for axis, size in enumerate(ours.shape))
            if tuple(theirs.shape) == wanted:
                yield name, with_classes(theirs, ours, axes=along, sources=changes.sources)
                continue
        yield name, theirs


def _class_names(file: WeightsFile, ours: tuple[str, ...], *, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Of the checkpoint; where it does not name them, those of the data, whose number then has to fit."""
    if file.class_names is not None:
        return file.class_names
    if renamed:
        raise CheckpointError(
            f"{file.path} does not name its classes, so that none of them can be renamed; leave "
            "training.start_from_classes out, and list the data's classes in the file's order (data.classes)"
        )
    log.info("%s does not name its classes; they are taken in the data's order: %s", file.path, some(ours))
    return ours


def _require_alike(file: WeightsFile, config: ExperimentConfig) -> None:
    """Refuse weights that would fit and yet be another network."""
    if file.pixel_norm is not None and dict(file.pixel_norm) != pixel_norm():
        raise CheckpointError(
            f"{file.path} was trained on pixels normalised with {dict(file.pixel_norm)}, this version normalises with "
            f"{pixel_norm()}; start from a checkpoint of this version"
        )
    ours = (config.backbone.alpha, config.backbone.beta)
    if file.coefficients is not None and tuple(file.coefficients) != ours:
        alpha, beta = file.coefficients
        raise CheckpointError(
            f"{file.path} was trained to alpha {alpha:g} and beta {beta:g}, the config has {ours[0]:g} and {ours[1]:g};"
            f" set backbone.alpha={alpha:g}, backbone.beta={beta:g} and, where they are at their end, "
            "training.anneal_epochs=0"
        )


def _advice(file: WeightsFile, config: ExperimentConfig) -> str:
    """What to do if the weights do not fit, with the settings that the checkpoint's config has otherwise."""
    unlike = ""
    try:
        told = {} if file.config is None else parse_json(file.config)
        parts = {name: told[name] for name in ("backbone", "pyramid", "head")} if told else {}
        unlike = differences(config.model_dump(mode="json", include=set(parts)), parts)
    except (JsonError, KeyError, TypeError):
        pass  # it says nothing that could be compared
    compared = f"settings that differ: {unlike:.600}; " if unlike else ""
    return (
        f"{compared}training.start_from takes over all but the classes, so set backbone, pyramid and head as the "
        f"checkpoint has them (re2tal init --start-from writes such a config), or take its backbone alone: "
        f"backbone.pretrained={file.path}"
    )
