"""From a config to the network it describes, and what can be said of it without running it."""

from typing import Any

import torch
from torch import nn

from re2tal.config.experiment import ExperimentConfig
from re2tal.data import DataSettings, annotations_of, find_class_names
from re2tal.networks.backbones import build_backbone
from re2tal.networks.detector import Detector

__all__ = ["build_detector", "count_classes", "count_parameters", "describe", "without_rewiring"]


def build_detector(config: ExperimentConfig, *, num_classes: int) -> Detector:
    """The network that `config` describes, with fresh weights."""
    backbone = build_backbone(config.backbone)
    pyramid = config.pyramid.build(in_channels=backbone.out_channels)
    head = config.head.build(in_channels=pyramid.out_channels, num_classes=num_classes, strides=pyramid.strides)
    return Detector(backbone, pyramid=pyramid, head=head)


def describe(config: ExperimentConfig) -> dict[str, Any]:
    """Every setting of `config` and the number of parameters of what it builds, as JSON values.

    `parameters.detector` is the detector without its backbone. It is None if neither `data.num_classes` nor the
    annotations tell how many classes there are.
    """
    plain = without_rewiring(config)
    with torch.device("meta"):  # shapes alone: neither time nor memory
        backbone = build_backbone(plain.backbone)
        num_classes = count_classes(config.data)
        detector = None if num_classes is None else build_detector(plain, num_classes=num_classes)
    counts = {
        "backbone": count_parameters(backbone),
        "detector": None if detector is None else count_parameters(detector) - count_parameters(backbone),
    }
    return {**config.model_dump(mode="json"), "parameters": counts}


def without_rewiring(config: ExperimentConfig) -> ExperimentConfig:
    """A config whose parameters and names are those of `config`, and which can be built without values."""
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"reversible": False})})


def count_parameters(model: nn.Module) -> int:
    """Trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_classes(data: DataSettings) -> int | None:
    """That the network tells apart; None if neither the config nor a file says."""
    if data.class_agnostic:
        return 1
    if data.num_classes is not None or not data.is_there():
        return data.num_classes
    return len(find_class_names(annotations_of(data), classes=data.classes))
