"""Video files to frames: index, decode, augment; and frames back to files."""

from re2tal.video.augment import (
    AugmentConfig,
    AugmentSettings,
    CropConfig,
    JitterConfig,
    augment,
    center_crop,
)
from re2tal.video.container import fault_of
from re2tal.video.encode import available_encoder, write_video
from re2tal.video.errors import (
    CorruptVideoError,
    MissingVideoError,
    NoVideoStreamError,
    TruncatedVideoError,
    UnreadableVideoError,
    VideoError,
    VideoTimeoutError,
)
from re2tal.video.playback import PlaybackInfo, look_at, write_playable
from re2tal.video.rand_augment import OperationSettings, RandAugmentConfig
from re2tal.video.reader import FrameReader, VideoInfo, open_video, probe

__all__ = [
    "AugmentConfig",
    "AugmentSettings",
    "CorruptVideoError",
    "CropConfig",
    "FrameReader",
    "JitterConfig",
    "MissingVideoError",
    "NoVideoStreamError",
    "OperationSettings",
    "PlaybackInfo",
    "RandAugmentConfig",
    "TruncatedVideoError",
    "UnreadableVideoError",
    "VideoError",
    "VideoInfo",
    "VideoTimeoutError",
    "augment",
    "available_encoder",
    "center_crop",
    "fault_of",
    "look_at",
    "open_video",
    "probe",
    "write_playable",
    "write_video",
]
