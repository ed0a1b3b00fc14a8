"""Video networks: (B, 3, T, H, W) raw frames to (B, C, S) features on the detector's step grid."""

from re2tal.networks.backbones.backbone import Backbone, BackboneConfig, build_backbone
from re2tal.networks.backbones.config import NetworkConfig, Reversible
from re2tal.networks.backbones.factory import FactoryConfig, FactoryTrunk
from re2tal.networks.backbones.internvideo2 import InternVideoConfig
from re2tal.networks.backbones.masked import MaskedVideoMae, tube_masks
from re2tal.networks.backbones.pixels import pixel_norm
from re2tal.networks.backbones.precomputed import PrecomputedConfig
from re2tal.networks.backbones.slowfast import Bottleneck, PathwayConfig, SlowFast, SlowFastConfig
from re2tal.networks.backbones.sub_clips import SubClipConfig, SubClipTrunk
from re2tal.networks.backbones.swin import SwinConfig, SwinTrunk
from re2tal.networks.backbones.video_transformers import (
    PlainTransformerConfig,
    TransformerSizes,
    VideoTransformerConfig,
    VideoTransformerTrunk,
)
from re2tal.networks.backbones.videomae import MvitConfig, VideoMaeConfig, VjepaConfig

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Bottleneck",
    "FactoryConfig",
    "FactoryTrunk",
    "InternVideoConfig",
    "MaskedVideoMae",
    "MvitConfig",
    "NetworkConfig",
    "PathwayConfig",
    "PlainTransformerConfig",
    "PrecomputedConfig",
    "Reversible",
    "SlowFast",
    "SlowFastConfig",
    "SubClipConfig",
    "SubClipTrunk",
    "SwinConfig",
    "SwinTrunk",
    "TransformerSizes",
    "VideoMaeConfig",
    "VideoTransformerConfig",
    "VideoTransformerTrunk",
    "VjepaConfig",
    "build_backbone",
    "pixel_norm",
    "tube_masks",
]
