"""Levels -> class logits and boundary offsets of every point; targets and losses in training."""

from re2tal.networks.heads.head import Head, HeadConfig, HeadOutputs
from re2tal.networks.heads.interface import DetectionHead, HeadSettings, RegressionRange
from re2tal.networks.heads.losses import diou_loss, focal_loss
from re2tal.networks.heads.points import Points, decode, make_points
from re2tal.networks.heads.targets import assign_targets
from re2tal.networks.heads.trident import TridentHead, TridentHeadConfig

__all__ = [
    "DetectionHead",
    "Head",
    "HeadConfig",
    "HeadOutputs",
    "HeadSettings",
    "Points",
    "RegressionRange",
    "TridentHead",
    "TridentHeadConfig",
    "assign_targets",
    "decode",
    "diou_loss",
    "focal_loss",
    "make_points",
]
