"""The weights that the backbone of a run starts from, and those that it leaves for others to start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from re2tal.networks.backbones import BackboneConfig
from re2tal.training import log
from re2tal.training.annealing import coefficients
from re2tal.weights import Layout, WeightsFile, load_pretrained, write_weights

__all__ = ["start_from_pretrained", "write_backbone"]


def start_from_pretrained(backbone: nn.Module, config: BackboneConfig) -> None:
    """Load the weights that `backbone` starts from, if its config names any."""
    if config.pretrained is None:
        return
    pretrained = load_pretrained(
        backbone.get_submodule("network"),
        path=config.pretrained,
        kind=config.weight_names,
        reversible=config.is_rewired,
        allow=config.pretrained_allow,
        adapters=getattr(backbone, "adapter_names", ()),
    )
    log.info("backbone from %s", pretrained.file)
    log.debug("backbone: %s", pretrained.placement)
    if differences := pretrained.placement.differences():
        log.warning("allowed by backbone.pretrained_allow:%s", differences)
    if pretrained.note is not None:
        log.info("pretrained weights: %s", pretrained.note)
    if pretrained.warning is not None:
        log.warning("pretrained weights: %s", pretrained.warning)
    trained, ours = pretrained.file.coefficients, coefficients(backbone)
    if trained is not None and ours is not None and trained != ours:
        log.warning(
            "pretrained weights: they were trained with backbone.alpha=%g, backbone.beta=%g, and this run begins with "
            "%g and %g, with which they compute something else",
            *trained,
            *ours,
        )


def write_backbone(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    checkpoint: Mapping[str, Any],
    backbone: BackboneConfig,
    metadata: Mapping[str, str],
) -> None:
    """Write weights of a backbone, under its network's own names, for `backbone.pretrained` of a detector.

    Args:
        path: of a safetensors file.
        tensors: all of the network's.
        checkpoint: of `Trainer`, which they come from.
        backbone: that they were trained in.
        metadata: further entries for people to read.
    """
    about = WeightsFile(
        path=path,
        tensors=tensors,
        dropped={},
        layout=Layout(kind=backbone.weight_names, part="backbone", writer="re2tal", rewired=backbone.is_rewired),
        averaged=True,
        epoch=checkpoint["epoch"],
        coefficients=checkpoint["coefficients"],
    )
    write_weights(path, tensors, about=about, metadata=metadata)
    log.info("weights of the backbone, for backbone.pretrained of a detector: %s", path)
