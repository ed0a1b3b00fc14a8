"""Load a file of weights into a network: pretrained weights into a backbone, a checkpoint into a detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from re2tal.reversible import coefficients, set_coefficients
from re2tal.weights.errors import WeightsError
from re2tal.weights.files import WeightsFile, read_weights
from re2tal.weights.names import Kind
from re2tal.weights.placing import Placement, place
from re2tal.weights.transformers import FAMILIES

__all__ = ["Pretrained", "fitted", "load_detector", "load_pretrained", "require_kind"]

_OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/recognition"
_OPENTAD = "https://github.com/sming256/OpenTAD/tree/main/configs/re2tal"
_SWIN = "swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb"
_SLOWFAST = "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb"

_VIDEOMAE = "vit-{}-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-{}.pth"

# The published files of pretrained weights: name, what it is, where it is offered.
_SOURCES = (
    (
        f"{_SWIN}_20220930-241016b2.pth",
        "Video Swin-T trained on Kinetics-400 by mmaction2",
        f"download {_OPENMMLAB}/swin/{_SWIN}/{_SWIN}_20220930-241016b2.pth",
    ),
    (
        f"{_SLOWFAST}_20220818-9c0e09bd.pth",
        "SlowFast-101 8x8 trained on Kinetics-400 by mmaction2",
        f"download {_OPENMMLAB}/slowfast/{_SLOWFAST}/{_SLOWFAST}_20220818-9c0e09bd.pth",
    ),
    (
        "invswin-tiny-p244-w877_kinetics400_pre_k400_ft_e30.pth",
        "Re2Swin-T trained on Kinetics-400 by the authors of Re2TAL",
        f"follow the link 'Re2Swin-T' on {_OPENTAD}",
    ),
    (
        "invslowfast101_k400_pre_k400_ft_e30.pth",
        "Re2SlowFast-101 trained on Kinetics-400 by the authors of Re2TAL",
        f"follow the link 'Re2SlowFast-101' on {_OPENTAD}",
    ),
    (
        "swin3d_t-7615ae03.pth",
        "Video Swin-T trained on Kinetics-400, as torchvision offers it",
        "download https://download.pytorch.org/models/swin3d_t-7615ae03.pth",
    ),
    *(
        (
            _VIDEOMAE.format(size, digest),
            f"VideoMAE {size} trained on Kinetics-400, as mmaction2 offers it",
            f"download {_OPENMMLAB}/videomae/{_VIDEOMAE.format(size, digest)}",
        )
        for size, digest in (("base", "860a3cd3"), ("large", "229dbb03"))
    ),
    (
        "vit_g_hybrid_pt_1200e_k710_ft.pth",
        "VideoMAE V2-g trained on Kinetics-710 by its authors",
        "fill in the form that the model zoo of https://github.com/OpenGVLab/VideoMAEv2 links",
    ),
    (
        "vitl.pt",
        "V-JEPA 2's ViT-L, as its authors offer it",
        "download https://dl.fbaipublicfiles.com/vjepa2/vitl.pt",
    ),
    (
        "mvit_v2_s-ae3be167.pth",
        "MViTv2-S trained on Kinetics-400, as torchvision offers it",
        "download https://download.pytorch.org/models/mvit_v2_s-ae3be167.pth",
    ),
)


@runtime_checkable
class FitsWeights(Protocol):
    """A network of a size of its own, such as of frames, which weights of another size can be made to suit."""

    def fit(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
        """The weights (under the network's names) for this network, and what was done to them, for the log."""


def fitted(weights: Mapping[str, Tensor], network: nn.Module) -> tuple[Mapping[str, Tensor], str | None]:
    """As `FitsWeights.fit`; networks that have it not take weights as they are."""
    return network.fit(weights) if isinstance(network, FitsWeights) else (weights, None)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Pretrained weights that a backbone got."""

    file: WeightsFile
    placement: Placement
    warning: str | None
    """What a reader of the log should know of the choice of the file, if anything."""
    note: str | None = None
    """What was done to suit them to the network's size."""


def load_pretrained(
    network: nn.Module, *, path: Path, kind: Kind, reversible: bool, allow: Sequence[str] = ()
) -> Pretrained:
    """Load the backbone in the file `path` into `network`; of a detector's checkpoint its backbone alone.

    Args:
        network: of a backbone, rewired or not.
        kind: which of them.
        reversible: whether it is rewired.
        allow: patterns of the network's names that may be missing, unknown or of another shape.

    Raises:
        WeightsError: the file is absent (says where it comes from), unreadable, of the other kind of network, or
            differs in more than is allowed.
    """
    if not path.is_file():
        raise WeightsError(f"there are no pretrained weights {path}{_where_from(path)}")
    file = read_weights(path, kind="factory" if kind == "factory" else None).backbone()
    require_kind(file, kind)
    if kind == "factory":
        file = _of_library(file, network)
    tensors, note = fitted(file.tensors, network)
    placement = place(
        tensors,
        network,
        source=path,
        fix="give the weights of this network, set its sizes to those of the file, or allow names that may differ "
        "with backbone.pretrained_allow",
        allow=allow,
        dropped=file.dropped,
    )
    warning = _warning(file, network, reversible=reversible)
    return Pretrained(file=file, placement=placement, warning=warning, note=note)


def load_detector(
    model: nn.Module,
    file: WeightsFile,
    *,
    kind: Kind,
    reversible: bool,
    fix: str = "use the config it was trained with, or a checkpoint of this config",
) -> Placement:
    """Load a whole detector; every tensor must fit. The coefficients of a rewired backbone become the file's.

    Args:
        model: a detector.
        file: what `read_weights` gave.
        kind: of the model's backbone.
        reversible: whether the model's backbone is rewired.
        fix: what to do if they do not fit, for the message.

    Raises:
        WeightsError: the file holds a backbone alone or another model, or was trained with the backbone rewired and
            the model's is not, or the other way round: the same tensors then compute something else.
    """
    if file.layout.part != "detector":
        raise WeightsError(
            f"{file.path} holds a {file.layout}, no detector; give a checkpoint of a whole detector, or train from it "
            f"with backbone.pretrained={file.path}"
        )
    require_kind(file, kind)
    if file.layout.rewired not in (None, reversible):
        raise WeightsError(
            f"{file.path} holds a {file.layout}, and the config has backbone.reversible={reversible}; "
            f"use the config with backbone.reversible={file.layout.rewired}"
        )
    placement = place(
        file.tensors,
        model,
        source=file.path,
        fix=fix,
        dropped=file.dropped,
    )
    if file.coefficients is not None:
        set_coefficients(model, alpha=file.coefficients[0], beta=file.coefficients[1])
    return placement


def require_kind(file: WeightsFile, kind: Kind) -> None:
    """Raise a WeightsError if `file` holds another kind of network."""
    if file.layout.kind != kind:
        raise WeightsError(
            f"{file.path} holds a {file.layout}, and the config describes a {kind}; "
            "give a file of that network, or another backbone in the config"
        )


def _of_library(file: WeightsFile, network: nn.Module) -> WeightsFile:
    """`file` under the trunk's names; a library saves its network alone, or under a name, beside a classifier."""
    wanted = network.state_dict().keys()
    if any(name in wanted for name in file.tensors):
        return file

    def renamed(prefix: str) -> dict[str, str]:
        return {name: f"net.{name.removeprefix(prefix)}" for name in file.tensors if name.startswith(prefix)}

    prefixes = sorted({"", *(f"{name.partition('.')[0]}." for name in file.tensors)})
    best = max(prefixes, key=lambda prefix: len(wanted & set(renamed(prefix).values())))
    names = renamed(best)
    others = {name: f"not of the network, whose names begin with {best}" for name in file.tensors if name not in names}
    tensors = {own: file.tensors[name] for name, own in names.items()}
    return replace(file, tensors=tensors, dropped={**file.dropped, **others})


def _warning(file: WeightsFile, network: nn.Module, *, reversible: bool) -> str | None:
    if file.layout.kind in FAMILIES:
        if (
            reversible
            and file.layout.rewired is False
            and all((c.alpha, c.beta) == (0, 1) for c in coefficients(network))
        ):
            return (
                "they are of the network that is not rewired, and the rewired one computes something else; begin near "
                "it with backbone.alpha=0.75, backbone.beta=0.25 and training.anneal_epochs"
            )
        return None
    if reversible and file.layout.rewired is False:
        return "they are of the network that is not rewired: a place to start from, behind the published Re2 weights"
    if not reversible and file.layout.rewired:
        return "they are of a rewired network, which computes something else with them; set backbone.reversible=true"
    return None


def _where_from(path: Path) -> str:
    """What the file is and where it comes from, if it is one of the published ones, and the way out."""
    instead = "or start from fresh weights with backbone.pretrained=None"
    for name, what, how in _SOURCES:
        if path.name == name:
            return f", which is {what}; {how} and put it there, {instead}"
    known = "".join(f"\n  {name}: {what}; {how}" for name, what, how in _SOURCES)
    return f"; put them there, {instead}. Published files:{known}"
