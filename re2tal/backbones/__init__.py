"""Video networks: (B, 3, T, H, W) raw frames to (B, C, S) features on the detector's step grid."""

from .backbone import Backbone, BackboneConfig, build_backbone
from .slowfast import Bottleneck, PathwayConfig, SlowFast, SlowFastConfig
from .swin import SwinConfig, SwinTrunk

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Bottleneck",
    "PathwayConfig",
    "SlowFast",
    "SlowFastConfig",
    "SwinConfig",
    "SwinTrunk",
    "build_backbone",
]
