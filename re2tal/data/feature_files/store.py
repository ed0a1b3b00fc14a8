"""The features of a data set's videos: whether they are all there and fit the videos in time, and parts of them.

T features of a video, C channels.
"""

from collections.abc import Iterable, Mapping
from statistics import median

import numpy as np
import torch
from torch import Tensor

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import some
from re2tal.data.config import ResizeSampling
from re2tal.data.feature_files.config import FeatureDataConfig, FeatureFiles
from re2tal.data.feature_files.reading import read_array, read_shape
from re2tal.data.features import FeaturesError
from re2tal.video import MissingVideoError

__all__ = ["FeatureArrays", "covered_share", "length_of", "read_part", "require_durations"]

_MOST_APART = 4
"""Features by which the streams of a video may differ in length: they see different numbers of frames at once, and
flow has one frame less."""


class FeatureArrays:
    """Where the arrays of all videos are, and how long."""

    def __init__(self, config: FeatureDataConfig, videos: Iterable[AnnotatedVideo]) -> None:
        """Look at the shape of every array.

        Raises:
            MissingVideoError: some are absent.
            FeaturesError: one is unreadable or of another layout, streams differ in length, or stride and frame rate
                do not fit the durations.
        """
        self.config = config
        videos = tuple(videos)
        self._require_files(videos)
        self._lengths = {video.video_id: length_of(config, video.video_id) for video in videos}
        require_durations(config, videos, lengths=self._lengths)

    def length(self, video_id: str) -> int:
        """T."""
        return self._lengths[video_id]

    def part(self, video_id: str, start: int, end: int) -> Tensor:
        """(C, end - start) float32; see `read_part`."""
        return read_part(self.config, video_id, start, end)

    def _require_files(self, videos: tuple[AnnotatedVideo, ...]) -> None:
        for files in self.config.files:
            paths = {video.video_id: self.config.file_of(files, video.video_id) for video in videos}
            absent = [video_id for video_id, path in paths.items() if not path.is_file()]
            if files.is_archive and absent:
                raise MissingVideoError(f"there is no file {files.path}; set data.files.path to where the features are")
            if absent:
                raise MissingVideoError(
                    f"{len(absent)} of {len(videos)} videos have no features where data.files says, such as "
                    f"{paths[absent[0]]}; put them there, correct data.files.path and data.files.pattern, or list "
                    f"their ids in data.missing ({some(absent)})"
                )


def read_part(config: FeatureDataConfig, video_id: str, start: int, end: int) -> Tensor:
    """(C, end - start) float32, features from `start` to before `end`, of all streams.

    Raises:
        FeaturesError: they cannot be read, or are not finite.
    """
    streams = [_stream(config, files, video_id, start, end) for files in config.files]
    found = torch.from_numpy(np.concatenate(streams))
    if not found.isfinite().all():
        raise FeaturesError(
            f"the features of video {video_id!r} in {config.file_of(config.files[0], video_id)} hold NaN "
            "or infinity; extract them again, or list the video in data.missing"
        )
    return found


def _stream(config: FeatureDataConfig, files: FeatureFiles, video_id: str, start: int, end: int) -> np.ndarray:
    """(C_i, end - start) of one stream."""
    path, key = config.file_of(files, video_id), files.key_of(video_id)
    shape, time = read_shape(path, key), 0 if files.time_first else 1
    if len(shape) == 2:
        part = read_array(path, key, part=slice(start, end), axis=time)
    else:
        whole = read_array(path, key)
        sizes = (-1, files.channels) if files.time_first else (files.channels, -1)
        part = whole.reshape(sizes).take(range(start, end), axis=time)
    return part.T if files.time_first else part


def length_of(config: FeatureDataConfig, video_id: str) -> int:
    """T of a video: of the shortest of its streams.

    Raises:
        FeaturesError: they are absent, unreadable, of another layout or of different lengths.
    """
    lengths = []
    for files in config.files:
        path, key = config.file_of(files, video_id), files.key_of(video_id)
        where = str(path) if key is None else f"{path}, {key!r}"
        lengths.append(files.length_in(read_shape(path, key), where=where))
    if max(lengths) - min(lengths) > _MOST_APART:
        raise FeaturesError(
            f"the features of video {video_id!r} must be equally long in all of data.files, give or take "
            f"{_MOST_APART}, got {lengths}; are all of one stride? Extract them again, or list the video in "
            "data.missing"
        )
    return min(lengths)


def require_durations(
    config: FeatureDataConfig, videos: Iterable[AnnotatedVideo], *, lengths: Mapping[str, int]
) -> None:
    """Refuse a stride or a frame rate with which the features would not last as long as the videos.

    Args:
        config: see there.
        videos: with their durations.
        lengths: T of each, by its id.

    Raises:
        FeaturesError: a wrong one is found, or the frame rate is not known and steps are counted in it.
    """
    if isinstance(config.sampling, ResizeSampling):  # no time depends on the frame rate
        videos = [video for video in videos if config.frame_rate_of(video) is not None]
    found = [(covered_share(config, video, length=lengths[video.video_id]), video) for video in videos]
    share = median([share for share, _ in found] or [1.0])
    if abs(share - 1) <= config.length_tolerance:
        return
    video = min(found, key=lambda pair: abs(pair[0] - share))[1]
    length, rate = lengths[video.video_id], _rate_of(config, video)
    raise FeaturesError(
        f"with data.stride={config.stride} at {rate:.6g} frames per second, features last {share:.3g} times as "
        f"long as their videos, in the median, and may differ by {config.length_tolerance:.0%} "
        "(data.length_tolerance). "
        f"Video {video.video_id!r}, of {video.duration_seconds:.6g} s, has {length} features, which last "
        f"{length * config.stride / rate:.6g} s. A stride of about {max(round(config.stride / share), 1)} or a "
        f"data.frame_rate of about {rate * share:.3g} would fit: set what the features were extracted with"
    )


def covered_share(config: FeatureDataConfig, video: AnnotatedVideo, *, length: int) -> float:
    """How much time `length` features cover, as a share of the video's duration."""
    frames = length * config.stride + max(2 * config.offset - config.stride, 0)  # snippets overlap
    return frames / _rate_of(config, video) / video.duration_seconds


def _rate_of(config: FeatureDataConfig, video: AnnotatedVideo) -> float:
    rate = config.frame_rate_of(video)
    if rate is None:
        raise FeaturesError(
            f"the frame rate that data.stride counts in must be known, and the annotations of video {video.video_id!r} "
            'tell neither "frame" nor "fps"; set data.frame_rate to that which the features were extracted at'
        )
    return rate
