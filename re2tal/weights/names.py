"""The names that weights have in files of other programs, and what we call them.

One map serves every layout, since no two of them give one name to different things. `network` is `SwinTrunk` or
`SlowFast`; ours are

* of a backbone: the network's own, `features.0.0.attn.qkv.weight`, `slow_path.layer1.0.conv1.conv.weight`
* of a detector: `backbone.network.<these>`, `pyramid.embed.0.conv.weight`, `head.cls_head.weight`

A detector of features that others have extracted (kind "precomputed") has no names of a backbone.

Names of a network of a library (kind "factory") stay as they are, under `net.`: nothing can be told from them.

Names of a rewired network are those of the plain one; files of the reference tell them apart, and so `Layout` does.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from re2tal.common.untrusted import some
from re2tal.weights.errors import WeightsError

__all__ = ["BACKBONE_PREFIX", "Kind", "Layout", "NameMap", "Part", "is_recomputed", "map_names"]

Kind = Literal["swin", "slowfast", "factory", "precomputed"]
Part = Literal["backbone", "detector"]

BACKBONE_PREFIX = "backbone.network."
"""What stands before the network's own names in a detector of ours."""

_CLASSIFIER = "the classifier of the pretraining"
_NORMALISATION = "pixel statistics, which the backbone has built in"
_RECOMPUTED = "computed from the window size"

_PARTS = {"projection.": "pyramid.", "neck.fpn_norms.": "pyramid.norms.", "rpn_head.": "head."}
_KINDS: dict[Kind, str] = {
    "swin": "Video Swin",
    "slowfast": "SlowFast",
    "factory": "network of a library or of one's own",
    "precomputed": "features of others",
}

# `blocks.1.inv_block.Fm.conv1`, in the first block of a stage `blocks.0.Fm.conv1`, `blocks.0.downsample`
_SLOWFAST_BLOCK = re.compile(r"^((?:slow|fast)_path\.layer\d+\.)blocks\.(\d+)\.(?:inv_block\.)?(?:Fm\.)?")
_SWIN_BRANCH = re.compile(r"inv_block\.[FG]m\.")
_SWIN_BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.")
_SWIN_DOWNSAMPLE = re.compile(r"^layers\.(\d+)\.downsample\.")
_SWIN_LAST_NORM = re.compile(r"^norm\d+\.")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a file's names say of it."""

    kind: Kind
    part: Part
    writer: str
    """The program whose names they are: mmaction2, Re2TAL, torchvision, OpenTAD or re2tal."""
    rewired: bool | None
    """Whether the network was rewired when its weights were trained; None if the names do not tell."""

    def __str__(self) -> str:
        network = _KINDS[self.kind]
        if self.kind == "precomputed":
            return f"detector of {network} ({self.writer})"
        if self.rewired is not None:
            network = f"{'rewired' if self.rewired else 'plain'} {network}"
        if self.part == "detector":
            network = f"detector with a {network}"
        return f"{network} ({self.writer})"


@dataclass(frozen=True, kw_only=True)
class NameMap:
    """Where every tensor of a file goes."""

    layout: Layout
    ours: dict[str, str]
    """The file's name -> ours."""
    dropped: dict[str, str]
    """The file's name -> why it is left out on purpose."""


def is_recomputed(name: str) -> bool:
    """Whether the network computes this tensor when it is built, so that no file needs to hold it."""
    return name.endswith("relative_position_index")


def map_names(names: Collection[str]) -> NameMap:
    """Recognise the layout of a file and map its names to ours; unknown names stay as they are.

    Raises:
        WeightsError: the names are of no network known here, or two of them mean the same tensor.
    """
    layout = _recognise(names)
    ours: dict[str, str] = {}
    dropped: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        own, reason = (_detector_name if layout.part == "detector" else _backbone_name)(name, layout.kind)
        if reason:
            dropped[name] = reason
        elif own in taken:
            raise WeightsError(f"it holds {own} twice, as {taken[own]} and as {name}; keep one of them")
        else:
            ours[name] = own
            taken[own] = name
    return NameMap(layout=layout, ours=ours, dropped=dropped)


def _recognise(names: Collection[str]) -> Layout:
    kind = _kind(names)
    if kind is None and _any(names, *_PARTS, "pyramid.", "head.cls_head."):
        kind = "precomputed"
    if kind is None:
        raise WeightsError(
            f"it holds no Video Swin and no SlowFast: its {len(names)} names are {some(names)}; "
            "known are the names of mmaction2, torchvision, OpenTAD and this package"
        )
    rewired = any(".inv_block." in name or ".Fm." in name for name in names)
    if _any(names, "backbone.model.", *_PARTS):
        return Layout(kind=kind, part="detector", writer="OpenTAD", rewired=rewired)
    if _any(names, BACKBONE_PREFIX, "pyramid.", "head.cls_head."):
        return Layout(kind=kind, part="detector", writer="re2tal", rewired=None)
    if _any(names, "features."):
        return Layout(kind=kind, part="backbone", writer="torchvision", rewired=None)
    if rewired:
        return Layout(kind=kind, part="backbone", writer="Re2TAL", rewired=True)
    # Bare names of a SlowFast are also ours, rewired or not.
    is_known = kind == "swin" or _any(names, "backbone.")
    return Layout(kind=kind, part="backbone", writer="mmaction2", rewired=False if is_known else None)


def _kind(names: Iterable[str]) -> Kind | None:
    for name in names:
        if "slow_path." in name or "fast_path." in name:
            return "slowfast"
        if "patch_embed." in name or "relative_position_bias_table" in name:
            return "swin"
    return None


def _any(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _detector_name(name: str, kind: Kind) -> tuple[str, str | None]:
    """Our name and, if the tensor is left out, why."""
    if name.startswith("backbone.model."):
        own, reason = _backbone_name(name.removeprefix("backbone.model."), kind)
        return BACKBONE_PREFIX + own, reason
    for theirs, own in _PARTS.items():
        if name.startswith(theirs):
            return own + name.removeprefix(theirs), None
    return name, _RECOMPUTED if is_recomputed(name) else None


def _backbone_name(name: str, kind: Kind) -> tuple[str, str | None]:
    """Our name and, if the tensor is left out, why."""
    if name.startswith("cls_head.") or (kind == "swin" and name.startswith("head.")):
        return name, _CLASSIFIER
    if name.startswith("data_preprocessor."):
        return name, _NORMALISATION
    if is_recomputed(name):
        return name, _RECOMPUTED
    return _network_name(name.removeprefix("backbone."), kind), None


def _network_name(name: str, kind: Kind) -> str:
    if kind == "slowfast":
        return _SLOWFAST_BLOCK.sub(r"\1\2.", name)
    name = _SWIN_BRANCH.sub("", name)
    name = _SWIN_BLOCK.sub(lambda match: f"features.{2 * int(match[1])}.", name)
    name = _SWIN_DOWNSAMPLE.sub(lambda match: f"features.{2 * int(match[1]) + 1}.", name)
    name = name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")
    return _SWIN_LAST_NORM.sub("norm.", name)
