"""The names that weights have in files of other programs, and what we call them.

One map serves every layout, since no two of them give one name to different things. `network` is `SwinTrunk` or
`SlowFast`; ours are

* of a backbone: the network's own, `features.0.0.attn.qkv.weight`, `slow_path.layer1.0.conv1.conv.weight`; those of
  video transformers are in `re2tal.weights.transformers`
* of a detector: `backbone.network.<these>`, `pyramid.embed.0.conv.weight`, `head.cls_head.weight`

A detector of features that others have extracted (kind "precomputed") has no names of a backbone.

Names of a network of a library (kind "factory") stay as they are, under `net.`: nothing can be told from them.

Names of a rewired network are those of the plain one; files of the reference tell them apart, and so `Layout` does.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from re2tal.common.untrusted import some
from re2tal.weights.errors import WeightsError
from re2tal.weights.transformers import CLASSIFIER, FAMILIES, NORMALISATION, family_of

__all__ = ["BACKBONE_PREFIX", "Kind", "Layout", "NameMap", "Part", "is_recomputed", "map_names"]

Kind = Literal["swin", "slowfast", "videomae", "vjepa2", "internvideo2", "mvit", "factory", "precomputed"]
Part = Literal["backbone", "detector"]

BACKBONE_PREFIX = "backbone.network."
"""What stands before the network's own names in a detector of ours."""

_RECOMPUTED = "computed from the window size"

_PARTS = {"projection.": "pyramid.", "neck.fpn_norms.": "pyramid.norms.", "rpn_head.": "head."}
_KINDS: dict[Kind, str] = {
    "swin": "Video Swin",
    "slowfast": "SlowFast",
    **{cast(Kind, kind): family.title for kind, family in FAMILIES.items()},
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
    """Whose names they are: mmaction2, Re2TAL, torchvision, transformers, OpenTAD, its authors or re2tal."""
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
    cut: dict[str, tuple[str, ...]]
    """The file's name of a fused tensor -> ours, of its equal parts along the first dimension."""
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
    cut: dict[str, tuple[str, ...]] = {}
    dropped: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        own, reason = (_detector_name if layout.part == "detector" else _backbone_name)(name, layout.kind)
        if reason:
            dropped[name] = reason
            continue
        for part in (own,) if isinstance(own, str) else own:
            if part in taken:
                raise WeightsError(f"it holds {part} twice, as {taken[part]} and as {name}; keep one of them")
            taken[part] = name
        if isinstance(own, str):
            ours[name] = own
        else:
            cut[name] = own
    return NameMap(layout=layout, ours=ours, cut=cut, dropped=dropped)


def _recognise(names: Collection[str]) -> Layout:
    transformer = family_of(names)
    kind = cast(Kind, transformer[0]) if transformer is not None else _kind(names)
    if kind is None and _any(names, *_PARTS, "pyramid.", "head.cls_head."):
        kind = "precomputed"
    if kind is None:
        raise WeightsError(
            f"it holds no Video Swin and no SlowFast: its {len(names)} names are {some(names)}; known are the names of "
            "mmaction2, torchvision, OpenTAD and this package, and those of VideoMAE, V-JEPA 2 and InternVideo2"
        )
    rewired = any(".inv_block." in name or ".Fm." in name for name in names)
    if _any(names, "backbone.model.", *_PARTS):
        return Layout(kind=kind, part="detector", writer="OpenTAD", rewired=rewired)
    if _any(names, BACKBONE_PREFIX, "pyramid.", "head.cls_head."):
        return Layout(kind=kind, part="detector", writer="re2tal", rewired=None)
    if transformer is not None:
        is_ours = transformer[1] == "re2tal"
        return Layout(kind=kind, part="backbone", writer=transformer[1], rewired=None if is_ours else False)
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


_Own = tuple[str | tuple[str, ...], str | None]
"""Our name, or our names of a fused tensor's parts, and, if the tensor is left out, why."""


def _detector_name(name: str, kind: Kind) -> _Own:
    if name.startswith("backbone.model."):
        own, reason = _backbone_name(name.removeprefix("backbone.model."), kind)
        ours = BACKBONE_PREFIX + own if isinstance(own, str) else tuple(BACKBONE_PREFIX + part for part in own)
        return ours, reason
    for theirs, own in _PARTS.items():
        if name.startswith(theirs):
            return own + name.removeprefix(theirs), None
    return name, _RECOMPUTED if is_recomputed(name) else None


def _backbone_name(name: str, kind: Kind) -> _Own:
    if kind in FAMILIES:
        return FAMILIES[kind].place(name)
    if name.startswith("cls_head.") or (kind == "swin" and name.startswith("head.")):
        return name, CLASSIFIER
    if name.startswith("data_preprocessor."):
        return name, NORMALISATION
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
