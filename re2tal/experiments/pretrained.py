"""The weights that the backbone of a run starts from."""

from re2tal.experiments.finetuning import Classifier
from re2tal.networks.backbones import BackboneConfig
from re2tal.networks.detector import Detector
from re2tal.training import log
from re2tal.training.annealing import coefficients
from re2tal.weights import load_pretrained

__all__ = ["start_from_pretrained"]


def start_from_pretrained(model: Detector | Classifier, config: BackboneConfig) -> None:
    """Load the weights that the backbone of `model` starts from, if its config names any."""
    if config.pretrained is None:
        return
    pretrained = load_pretrained(
        model.backbone.get_submodule("network"),
        path=config.pretrained,
        kind=config.weight_names,
        reversible=config.is_rewired,
        allow=config.pretrained_allow,
        adapters=getattr(model.backbone, "adapter_names", ()),
    )
    log.info("backbone from %s", pretrained.file)
    log.debug("backbone: %s", pretrained.placement)
    if differences := pretrained.placement.differences():
        log.warning("allowed by backbone.pretrained_allow:%s", differences)
    if pretrained.note is not None:
        log.info("pretrained weights: %s", pretrained.note)
    if pretrained.warning is not None:
        log.warning("pretrained weights: %s", pretrained.warning)
    trained, ours = pretrained.file.coefficients, coefficients(model)
    if trained is not None and ours is not None and trained != ours:
        log.warning(
            "pretrained weights: they were trained with backbone.alpha=%g, backbone.beta=%g, and this run begins with "
            "%g and %g, with which they compute something else",
            *trained,
            *ours,
        )
