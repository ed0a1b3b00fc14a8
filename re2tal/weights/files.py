"""Files of weights: ours and other programs', read into tensors under our names; ours written whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import torch
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from re2tal.common.atomic import atomic_path
from re2tal.common.untrusted import JsonError, parse_json, shown, some
from re2tal.weights.errors import WeightsError
from re2tal.weights.hashing import hash_of_weights
from re2tal.weights.intact import require_intact
from re2tal.weights.names import BACKBONE_PREFIX, Kind, Layout, Part, map_names
from re2tal.weights.pickles import SAFETENSORS, load_pickle, sniff

__all__ = ["CHECKPOINT_FORMAT", "PART_FORMAT", "WeightsFile", "read_weights", "write_weights"]

CHECKPOINT_FORMAT = "re2tal-1"
"""What `format` says in a checkpoint of our training."""
_IMPORTED_FORMAT = "re2tal-weights-1"
"""What `format` says in the metadata of a file that `write_weights` wrote."""

PART_FORMAT = "re2tal-part-1"
"""Likewise, of a file that holds what was trained of a detector."""

_AVERAGED, _LAST = "state_dict_ema", "state_dict"
_ENTRIES = (_AVERAGED, _LAST, "module", "model", "target_encoder", "encoder")
"""Under which files have their weights; VideoMAE's, InternVideo2's and V-JEPA 2's under the others."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Weights as they were found in a file."""

    path: Path
    tensors: Mapping[str, Tensor]
    """Under our names (see `re2tal.weights.names`), on the CPU; they may be read from the file only when used."""
    dropped: Mapping[str, str]
    """Name -> why it was left out on purpose; the file's names, or ours for what `backbone` left out."""
    layout: Layout
    averaged: bool | None = None
    """Whether they are a running average of a training's weights; None if the file does not tell."""
    epoch: int | None = None
    """The epoch that they were saved after, if the file tells."""
    class_names: tuple[str, ...] | None = None
    """The classes of a detector in the order of its outputs; files of other programs do not tell them."""
    config: str | None = None
    """The experiment that it comes from, as JSON; only checkpoints of our training tell it."""
    coefficients: tuple[float, float] | None = None
    """Alpha and beta that the streams of a rewired network had; None if the file does not tell: Re2TAL's, 0 and 1."""
    pixel_norm: Mapping[str, Sequence[float]] | None = None
    """"mean" and "std" that the network normalises 0-255 RGB pixels with; as `config`."""
    rest_sha256: str | None = None
    """Of the pretrained weights that were not trained and are not in the file; see `completed`."""

    def __str__(self) -> str:
        details = [str(self.layout)]
        if self.averaged is not None:
            details.append("averaged weights" if self.averaged else "last weights, no average")
        if self.epoch is not None:
            details.append(f"epoch {self.epoch}")
        return f"{self.path}: {', '.join(details)}"

    def backbone(self) -> "WeightsFile":
        """The backbone alone, under the network's own names."""
        if self.layout.part == "backbone":
            return self
        others = {name: "not of the backbone" for name in self.tensors if not name.startswith(BACKBONE_PREFIX)}
        return replace(
            self,
            tensors={
                name.removeprefix(BACKBONE_PREFIX): value
                for name, value in self.tensors.items()
                if name.startswith(BACKBONE_PREFIX)
            },
            dropped={**self.dropped, **others},
            layout=replace(self.layout, part="backbone"),
        )


def read_weights(path: Path, *, kind: Kind | None = None) -> WeightsFile:
    """Read any file of weights that is known here; nothing in it is executed.

    Known are checkpoints of our training, what `write_weights` wrote, and, with the names of mmaction2, torchvision,
    transformers, Re2TAL, OpenTAD or a video transformer's authors, safetensors files and files of `torch.save` that
    hold `state_dict_ema` (taken first), `state_dict`, `module`, `model`, `target_encoder`, `encoder`, or the tensors
    themselves.

    Args:
        path: of the file.
        kind: "factory" if it is of a library's network, whose names stay as they are; files of ours tell it themselves.

    Raises:
        WeightsError: says what the file is instead, and what to do.
    """
    if sniff(path) == SAFETENSORS:
        tensors, metadata = _read_safetensors(path)
        if metadata.get("format") == PART_FORMAT:
            return _part(path, tensors, metadata)
        if "kind" in metadata:
            kind = "factory" if metadata["kind"] == "factory" else None
        file = _translate(path, tensors, kind=kind)
        return _with_metadata(file, metadata) if metadata.get("format") == _IMPORTED_FORMAT else file
    content = load_pickle(path, mmap=True)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not weights; give a file of named tensors")
    if content.get("format") == CHECKPOINT_FORMAT:
        return _own_checkpoint(path, content)
    entry = next((key for key in _ENTRIES if isinstance(content.get(key), Mapping)), None)
    file = _translate(path, content if entry is None else content[entry], kind=kind)
    is_training = file.layout.part == "detector" and entry is not None
    return replace(
        file,
        averaged=entry == _AVERAGED if is_training else None,
        epoch=_checked(path, {"epoch": content.get("epoch")}).epoch,
    )


def write_weights(
    path: Path, tensors: Mapping[str, Tensor], *, about: WeightsFile, metadata: Mapping[str, str]
) -> None:
    """Write `tensors` (under our names) as safetensors; a crash on the way leaves the file that was there before.

    Args:
        about: where the tensors come from; `read_weights` will tell the same of `path`.
        metadata: further entries for people to read.
    """
    known = {
        "format": _IMPORTED_FORMAT,
        "layout": str(about.layout),
        "kind": about.layout.kind,
        "rewired": json.dumps(about.layout.rewired),
        "averaged": json.dumps(about.averaged),
        "epoch": json.dumps(about.epoch),
        "class_names": json.dumps(about.class_names),
        "coefficients": json.dumps(about.coefficients),
    }
    # Copies: tensors that share memory, or are mapped from the file, cannot be written as they are.
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with atomic_path(path) as unfinished:
        save_file(copies, unfinished, metadata={**metadata, **known})


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # a header of anything makes its reader, or torch, fail in any way
        raise WeightsError(f"{path} cannot be read ({error}); it may be cut off: download or copy it again") from error


def _translate(path: Path, state: Mapping[Any, Any], *, kind: Kind | None = None) -> WeightsFile:
    """`state`, tensors under another program's names, under ours."""
    others = [f"{key} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        raise WeightsError(
            f"{path} holds no weights, but {some(others) or 'nothing'}; "
            f"give a file with {_AVERAGED}, {_LAST}, or named tensors"
        )
    tensors: dict[str, Tensor] = {str(name): value for name, value in state.items()}
    for name, value in tensors.items():
        # Of other kinds, copying and even printing fails in ways of their own.
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise WeightsError(
                f"{path}: {shown(name)} must be a plain tensor of real numbers, got {value.dtype}, {value.layout} on "
                f"{value.device}; save it as one"
            )
    while all(name.startswith("module.") for name in tensors):  # DistributedDataParallel's
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    if kind == "factory":
        part: Part = "detector" if any(name.startswith(BACKBONE_PREFIX) for name in tensors) else "backbone"
        layout = Layout(kind=kind, part=part, writer="its library", rewired=None)
        return WeightsFile(path=path, tensors=tensors, dropped={}, layout=layout)
    try:
        names = map_names(tensors)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    own = {ours: tensors[theirs] for theirs, ours in names.ours.items()}
    for theirs, parts in names.cut.items():
        fused = tensors[theirs]
        if not fused.ndim or len(fused) % len(parts):
            raise WeightsError(
                f"{path}: {shown(theirs)} holds {len(parts)} equal parts along its first dimension, which its shape "
                f"{tuple(fused.shape)} cannot be; download or convert the file again"
            )
        own.update(zip(parts, fused.chunk(len(parts)), strict=True))
    return WeightsFile(path=path, tensors=own, dropped=names.dropped, layout=names.layout)


def _own_checkpoint(path: Path, content: Mapping[str, Any]) -> WeightsFile:
    """A checkpoint of our training, whose `weights` are the averaged ones."""
    require_intact(path)
    weights = content.get("weights")
    if not isinstance(weights, Mapping):
        raise WeightsError(f"{path}: its `weights` are {type(weights).__name__}, no tensors; take another checkpoint")
    noted = ("config", "class_names", "epoch", "coefficients", "pixel_norm")
    about = _checked(path, {name: content.get(name) for name in noted})
    try:
        backbone = {} if about.config is None else parse_json(about.config)["backbone"]
        rewired = None if about.config is None else backbone["reversible"]
        rewired = True if rewired == "auto" else rewired
        is_factory = backbone.get("kind") == "factory" or "source" in backbone
    except (TypeError, JsonError, KeyError, AttributeError):
        raise WeightsError(f"{path}: its `config` is not that of an experiment; take another checkpoint") from None
    file = _translate(path, weights, kind="factory" if is_factory else None)
    return replace(
        file,
        layout=replace(file.layout, rewired=_checked(path, {"rewired": rewired}).rewired),
        averaged=True,
        epoch=about.epoch,
        class_names=about.class_names,
        config=about.config,
        coefficients=about.coefficients,
        pixel_norm=about.pixel_norm,
    )


def _with_metadata(file: WeightsFile, metadata: Mapping[str, str]) -> WeightsFile:
    """`file`, with what `write_weights` noted of its origin."""
    try:
        noted = {name: parse_json(metadata[name]) for name in ("rewired", "averaged", "epoch", "class_names")}
        noted["coefficients"] = parse_json(metadata.get("coefficients", "null"))
    except (KeyError, JsonError) as error:
        raise WeightsError(f"{file.path}: what it notes of its origin is damaged ({error}); import it again") from None
    about = _checked(file.path, noted)
    return replace(
        file,
        layout=replace(file.layout, writer="re2tal", rewired=about.rewired),
        averaged=about.averaged,
        epoch=about.epoch,
        class_names=about.class_names,
        coefficients=about.coefficients,
    )


def _part(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> WeightsFile:
    """What was trained of a detector; its names are ours."""
    names = ("rewired", "class_names", "epoch", "coefficients", "pixel_norm", "config")
    try:
        about = _checked(path, {name: parse_json(metadata[name]) for name in names})
        kind, rest = metadata["kind"], metadata["rest_sha256"]
        if kind not in get_args(Kind) or metadata["sha256"] != hash_of_weights(tensors):
            raise WeightsError(f"{path} is not as it was written; copy it again")
    except (KeyError, JsonError) as error:
        raise WeightsError(f"{path}: what it notes of its origin is damaged ({error}); copy it again") from None
    return WeightsFile(
        path=path,
        tensors=tensors,
        dropped={},
        layout=Layout(kind=cast(Kind, kind), part="detector", writer="re2tal", rewired=about.rewired),
        averaged=True,
        epoch=about.epoch,
        class_names=about.class_names,
        config=about.config,
        coefficients=about.coefficients,
        pixel_norm=about.pixel_norm,
        rest_sha256=rest,
    )


class _WeightsHeader(BaseModel):
    """What a file tells beside its tensors."""

    epoch: Annotated[int, Field(ge=0, le=10**9)] | None = None
    averaged: bool | None = None
    rewired: bool | None = None
    class_names: tuple[str, ...] | None = None
    config: str | None = None
    coefficients: tuple[FiniteFloat, FiniteFloat] | None = None
    pixel_norm: dict[str, list[FiniteFloat]] | None = None


def _checked(path: Path, told: Mapping[str, Any]) -> _WeightsHeader:
    try:
        return _WeightsHeader.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise WeightsError(
            f"{path}: its `{name}` is damaged: {first['msg']}, got {shown(first['input'])}; take another checkpoint"
        ) from None
