"""What every data set makes its clips with: where their frames come from, and a clip of a cut."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from re2tal.common.types import AnnotatedVideo, Clip, FeatureClip, FrameChange, PixelClip
from re2tal.data.clip_specs import ClipSpec, frame_grid
from re2tal.data.config import DataSettings, ResizeSampling
from re2tal.data.features import FeatureStore, VideoFeatures
from re2tal.data.frames import FrameStore
from re2tal.video import VideoError, probe

__all__ = ["count_frames", "seen", "store_of", "stored", "to_clip"]

_COUNTED_AT_ONCE = 64


def stored(file: VideoFeatures, cut: ClipSpec) -> Callable[..., Clip]:
    """What makes a clip of the stored features of a cut at a place of testing."""
    assert cut.first_step is not None
    return partial(FeatureClip, features=file.window(cut.first_step))


def seen(frames: Tensor, change: FrameChange | None = None) -> Callable[..., Clip]:
    """What makes a clip of (3, T, H, W) uint8 frames, which are yet to be changed."""
    return partial(PixelClip, frames=frames, change=change)


def store_of(config: DataSettings, videos: tuple[AnnotatedVideo, ...], *, short_side: int) -> FrameStore | FeatureStore:
    """Where the clips of `videos` come from: their files, or their stored features."""
    if config.features is not None:
        return FeatureStore(config, videos)
    grid = partial(frame_grid, sampling=config.sampling)
    return FrameStore(short_side=short_side, grid=grid, limit_mib=config.cache_mib)


def count_frames(
    videos: Collection[AnnotatedVideo],
    *,
    config: DataSettings,
    store: FrameStore | FeatureStore,
    skip_broken: bool = False,
) -> dict[str, int]:
    """Frames of the files of the videos whose annotations do not count them; a video that is resized needs none.

    Args:
        videos: of a data set.
        config: see there.
        store: of their clips.
        skip_broken: leave out files that cannot be used.

    Raises:
        VideoError: a file cannot be used, unless `skip_broken`.
    """
    if isinstance(config.sampling, ResizeSampling):
        return {}

    def count(path: Path) -> int | None:
        try:
            if isinstance(store, FeatureStore):
                with store.open(path) as file:
                    return file.num_frames
            return probe(path).num_frames
        except (VideoError, OSError):
            if skip_broken:
                return None
            raise

    unknown = [video.video_id for video in videos if video.num_frames is None]
    counts: list[int | None] = []
    # FFmpeg reads outside of Python's lock. A few at a time: the first broken file ends it, and results
    # that waited by the thousand between FFmpeg's buffers took 60 KB a video, in holes of the heap.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(unknown), _COUNTED_AT_ONCE):
            counts += pool.map(count, map(config.input_path, unknown[start : start + _COUNTED_AT_ONCE]))
    return {name: found for name, found in zip(unknown, counts, strict=True) if found is not None}


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
        labelled=None if cut.labelled is None else torch.from_numpy(cut.labelled),
        labels=torch.tensor([class_names.index(action.label) for action in shown], dtype=torch.int64),
    )
