"""Features of videos on disk: what a frozen backbone makes of each of testing's clips, stored once.

A backbone's feature of a step depends on the clip around it: a clip's ends are padded, and attention windows are
counted from its first frame. So what is stored is every clip of testing as the backbone saw it, not one row per step:
testing from it is testing from pixels. `VideoFeatures.whole` gives one row per step, for other programs.

One safetensors file per video. W clips, C channels, S steps of a clip, T steps of the video.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import torch
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from safetensors import safe_open
from torch import Tensor

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.data.clip_specs import window_specs_of
from re2tal.data.config import DataSettings
from re2tal.data.windows import nearest_windows
from re2tal.video import VideoError

__all__ = [
    "FeatureStore",
    "FeaturesError",
    "VideoFeatures",
    "describe_input",
    "differences",
    "read_features",
    "write_features",
]

_FORMAT = "re2tal-features-1"


class FeaturesError(VideoError):
    """Stored features that are absent, unreadable, or of something else than what is asked for."""


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """The features of one video; they are read from the file when asked for."""

    path: Path
    num_frames: int
    """Of the video file."""
    duration_seconds: float
    num_steps: int
    """T."""
    seconds_per_step: float
    starts: tuple[int, ...]
    """(W,) first steps of the clips, increasing."""
    about: Mapping[str, Any]
    """How they were made: "input" (see `describe_input`), "network", "weights_sha256", "weights", "source"."""

    def window(self, first_step: int) -> Tensor:
        """(C, S) float32: the clip that begins with the video's step number `first_step`."""
        if first_step not in self.starts:
            raise FeaturesError(f"{self.path} has no clip that begins with step {first_step}, it has {self.starts}")
        with _opened(self.path) as file:
            stored: Tensor = file.get_slice("features")[self.starts.index(first_step)]
        if not stored.isfinite().all():
            raise FeaturesError(
                f"{self.path} holds NaN or infinity in the clip that begins with step {first_step}; extract it again"
            )
        return stored

    def whole(self) -> np.ndarray:
        """(T, C) float32: every step as the clip saw it in which it lies nearest to the middle."""
        with _opened(self.path) as file:
            windows = file.get_slice("features")
            nearest = nearest_windows(self.starts, num_steps=windows.get_shape()[2], total_steps=self.num_steps)
            rows = [
                windows[window].numpy().T[np.flatnonzero(nearest == window) - start]
                for window, start in enumerate(self.starts)
            ]
        return np.concatenate(rows)


def describe_input(config: DataSettings) -> dict[str, Any]:
    """What decides which pixels the clips of testing hold, as JSON values."""
    keys = {"kind", "num_steps", "frames_per_step", "frame_stride", "test_overlap"}
    return {
        "sampling": config.sampling.model_dump(mode="json", include=keys),
        "short_side": config.short_side_test,
        "crop_size": list(config.crop_size),
    }


def write_features(
    file: BinaryIO,
    clips: Iterable[Tensor],
    *,
    starts: Sequence[int],
    channels: int,
    length: int,
    about: Mapping[str, Any],
) -> None:
    """Write the features of one video, clip by clip, so that no more than one is in memory.

    Args:
        file: a new file; whoever opened it sees to it that a half-written one is not taken for a whole.
        clips: W tensors (C, S), in the order of `starts`.
        starts: (W,) first steps.
        channels: C.
        length: S.
        about: entries of `VideoFeatures`, and whatever else a reader should know, as JSON values.
    """
    shape = [len(starts), channels, length]
    starts_end, end = 8 * len(starts), 8 * len(starts) + 4 * math.prod(shape)
    header: dict[str, Any] = {
        "__metadata__": {"format": _FORMAT, **{name: json.dumps(value) for name, value in about.items()}},
        "starts": {"dtype": "I64", "shape": [len(starts)], "data_offsets": [0, starts_end]},
        "features": {"dtype": "F32", "shape": shape, "data_offsets": [starts_end, end]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    file.write(len(text).to_bytes(8, "little") + text + np.asarray(starts, "<i8").tobytes())
    written = 0
    for clip in clips:
        assert clip.shape == (channels, length), f"features must be {(channels, length)}, got {tuple(clip.shape)}"
        if not clip.isfinite().all():
            raise ValueError(
                f"features must be finite, got NaN or infinity in clip {written} of {about['source']['file']}; the "
                "backbone's weights are probably broken"
            )
        file.write(clip.contiguous().float().cpu().numpy().astype("<f4", copy=False).tobytes())
        written += 1
    assert written == len(starts), f"there must be {len(starts)} clips, got {written}"


def read_features(path: Path | str) -> VideoFeatures:
    """What a file of `write_features` says of its video; features themselves are read later.

    Raises:
        FeaturesError: the file is absent, damaged or of another program.
    """
    path = Path(path)
    with _opened(path) as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise FeaturesError(
                f"{path} holds no features of `re2tal extract` (its format is {metadata.get('format')!r}, not "
                f"{_FORMAT!r}); extract them again"
            )
        starts, shape = file.get_tensor("starts"), file.get_slice("features").get_shape()
        kinds = starts.dtype, file.get_slice("features").get_dtype()
    is_table = kinds == (torch.int64, "F32") and starts.ndim == 1 and len(shape) == 3 and shape[0] == len(starts)
    if not is_table or not (starts.diff() > 0).all() or (starts < 0).any():
        raise FeaturesError(
            f"{path} must hold first steps (W,) int64, increasing, and features (W, C, S) float32, got {starts.dtype} "
            f"{tuple(starts.shape)} and {kinds[1]} {tuple(shape)}; extract it again"
        )
    try:
        about = {name: parse_json(value) for name, value in metadata.items() if name != "format"}
        told = _FeaturesHeader.model_validate(about)
    except (JsonError, ValidationError) as error:
        raise FeaturesError(f"{path}: what it tells of itself is damaged ({error}); extract it again") from None
    return VideoFeatures(
        path=path,
        starts=tuple(starts.tolist()),
        about=about,
        **{name: getattr(told, name) for name in ("num_frames", "duration_seconds", "num_steps", "seconds_per_step")},
    )


class _FeaturesHeader(BaseModel):
    """What has to stand in a file beside the features; see `VideoFeatures`."""

    num_frames: Annotated[int, Field(ge=1, le=2**40)]
    duration_seconds: Annotated[FiniteFloat, Field(gt=0)]
    num_steps: Annotated[int, Field(ge=1, le=2**40)]
    seconds_per_step: Annotated[FiniteFloat, Field(gt=0)]
    input: dict[str, Any]
    network: dict[str, Any]
    weights: str
    weights_sha256: str


class FeatureStore:
    """The stored features of a data set's videos."""

    def __init__(self, config: DataSettings, videos: Iterable[AnnotatedVideo]) -> None:
        """Look at the file of every video.

        Raises:
            FeaturesError: one is absent, damaged, or of other clips than those that the config cuts.
        """
        self._features = {
            config.input_path(video.video_id): _without_config(_features_for(video, config=config)) for video in videos
        }

    @contextmanager
    def open(self, path: Path) -> Iterator[VideoFeatures]:
        """The features in the file at `path`."""
        yield self._features[path]

    def __iter__(self) -> Iterator[VideoFeatures]:
        return iter(self._features.values())


def _without_config(features: VideoFeatures) -> VideoFeatures:
    """The whole experiment stands in every file; twenty thousand of them would fill memory."""
    return replace(features, about={name: value for name, value in features.about.items() if name != "config"})


def _features_for(video: AnnotatedVideo, *, config: DataSettings) -> VideoFeatures:
    path, sampling = config.input_path(video.video_id), config.sampling
    found = read_features(path)
    if unlike := differences(describe_input(config), found.about["input"]):
        raise FeaturesError(f"{path} was extracted with other clips: {unlike}; set them alike or extract again")
    places = window_specs_of(video, sampling=sampling, count_frames=lambda: found.num_frames)
    if lacking := [place.start_step for place in places if place.start_step not in found.starts]:
        raise FeaturesError(
            f"{path} has no clip that begins with step {lacking[0]}, which the annotated number of frames, "
            f"{video.num_frames}, asks for; the file has {found.num_frames}. Extract again with the config and without "
            "naming videos"
        )
    return found


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], *, prefix: str = "") -> str:
    """What differs between two descriptions in JSON values, as text; "" if nothing does."""
    told = []
    for name in {**wanted, **found}:
        ours, theirs = wanted.get(name), found.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            told.append(differences(ours, theirs, prefix=f"{prefix}{name}."))
        elif ours != theirs:
            told.append(f"{prefix}{name} is {shown(theirs)} there, {shown(ours)} here")
    return ", ".join(filter(None, told))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise FeaturesError(f"there are no features {path}; run `re2tal extract` first, or set data.features=None")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FeaturesError:
        raise
    except Exception as error:  # a header of anything makes its reader, or torch, fail in any way
        raise FeaturesError(f"{path} cannot be read ({error}); delete it and extract again") from error
