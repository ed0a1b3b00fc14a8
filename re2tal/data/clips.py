"""What every data set makes its clips with: where their frames come from, and a clip of a cut."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from re2tal.common.types import AnnotatedVideo, Clip, FeatureClip, PixelClip
from re2tal.data.clip_specs import ClipSpec, frame_grid
from re2tal.data.config import DataSettings
from re2tal.data.features import FeatureStore, VideoFeatures
from re2tal.data.frames import FrameStore

__all__ = ["seen", "store_of", "stored", "to_clip"]


def stored(file: VideoFeatures, cut: ClipSpec) -> Callable[..., Clip]:
    """What makes a clip of the stored features of a cut at a place of testing."""
    assert cut.first_step is not None
    return partial(FeatureClip, features=file.window(cut.first_step))


def seen(frames: Tensor) -> Callable[..., Clip]:
    """What makes a clip of (3, T, H, W) uint8 frames."""
    return partial(PixelClip, frames=frames)


def store_of(config: DataSettings, videos: tuple[AnnotatedVideo, ...], *, short_side: int) -> FrameStore | FeatureStore:
    """Where the clips of `videos` come from: their files, or their stored features."""
    if config.features is not None:
        return FeatureStore(config, videos)
    grid = partial(frame_grid, sampling=config.sampling)
    return FrameStore(short_side=short_side, grid=grid, limit_mib=config.cache_mib)


def to_clip(video: AnnotatedVideo, cut: ClipSpec, make: Callable[..., Clip], *, class_names: tuple[str, ...]) -> Clip:
    """The clip of a cut.

    Args:
        video: that it is cut from.
        cut: see there.
        make: a class of clips that has got what the network sees.
        class_names: of the labels.
    """
    shown = (action for action, is_shown in zip(video.actions, cut.shown, strict=True) if is_shown)
    return make(
        video_id=video.video_id,
        frame_numbers=torch.from_numpy(cut.sample.indices),
        mask=torch.from_numpy(cut.sample.mask),
        grid=cut.grid,
        segments=torch.from_numpy(cut.segments).float(),
        labels=torch.tensor([class_names.index(action.label) for action in shown], dtype=torch.int64),
    )
