"""Whether stored features are those of a network."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from re2tal.data import FeaturesError, VideoFeatures
from re2tal.data.features import differences
from re2tal.networks.backbones import BackboneConfig
from re2tal.training.annealing import coefficients
from re2tal.weights import hash_of_weights

__all__ = ["describe_network", "hash_of_backbone", "require_features_of"]

# What changes nothing about the function that a network in eval mode with given weights is.
_OF_TRAINING_ALONE = {
    "activation_checkpointing",
    "alpha",  # those that count are the backbone's, and those of its weights, if their file tells
    "beta",
    "drop_path",
    "freeze_norms",
    "fresh_weights",
    "frozen",
    "pretrained",
    "pretrained_allow",
    "sampled_gradients",
    "tile_mib",
}


def describe_network(config: BackboneConfig, backbone: nn.Module) -> dict[str, Any]:
    """What decides, besides weights, which function of the frames `backbone`, of `config`, is, as JSON values."""
    described = config.model_dump(mode="json", exclude=_OF_TRAINING_ALONE)
    present = coefficients(backbone)
    return described if present in (None, (0, 1)) else {**described, "coefficients": list(present)}


def hash_of_backbone(backbone: nn.Module) -> str:
    """A name for its weights."""
    return hash_of_weights(backbone.get_submodule("network").state_dict())


def require_features_of(backbone: nn.Module, *, config: BackboneConfig, stored: Sequence[VideoFeatures]) -> None:
    """Refuse stored features of another network than `backbone`, or of other weights."""
    if not stored:
        return
    wanted, weights = describe_network(config, backbone), hash_of_backbone(backbone)
    for features in stored:
        if unlike := differences(wanted, features.about["network"]):
            raise FeaturesError(
                f"{features.path} was extracted with another backbone: {unlike}; set it alike or extract again"
            )
        if features.about["weights_sha256"] != weights:
            raise FeaturesError(
                f"{features.path} was extracted with other weights, those of {features.about['weights']}; set "
                "backbone.pretrained to that file, or extract again with the weights of this run"
            )
