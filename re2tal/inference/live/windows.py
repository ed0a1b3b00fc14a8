"""Frames of a section as they come -> the clips of testing, each as soon as its last frame is there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from re2tal.common.types import AnnotatedVideo, Clip, TimeGrid
from re2tal.data import DataSettings, WindowSampling
from re2tal.data.clip_specs import WindowSpec, window_specs_of
from re2tal.data.testing_set import clip_of
from re2tal.data.windows import window_distance
from re2tal.inference.live.frames import LiveFrame

__all__ = ["LiveWindow", "SectionWindows"]


@dataclass(frozen=True, kw_only=True)
class LiveWindow:
    """A clip, and what is known of those that follow."""

    clip: Clip
    next_seconds: float
    """No later window of the section begins before."""


class SectionWindows:
    """The windows of a section: where those of a file lie that begins and ends with it.

    Which window is the last, the one that ends with the section, is known at the end alone; it may begin one step after
    any other. Memory is that of the frames of one window. To `clip_of`, this is a file's `VideoFrames`.

    Args:
        config: of the clips, which are windows.
        video_id: of the section.
        begin: of the section, in seconds of the stream; times of clips are counted from there.
    """

    def __init__(self, config: DataSettings, *, video_id: str, begin: Fraction) -> None:
        assert isinstance(config.sampling, WindowSampling)
        self._config, self._sampling = config, config.sampling
        self._begin = begin
        self._video = AnnotatedVideo(
            video_id=video_id, subset="", duration_seconds=1.0, num_frames=None, actions=()
        )  # where clips lie in time is said below
        self._distance = window_distance(self._sampling.num_steps, overlap=self._sampling.test_overlap)
        self._kept: dict[int, tuple[Fraction, Tensor]] = {}  # seconds and picture by number of the frame
        self._next_step = 0
        self._latest: LiveFrame | None = None

    @property
    def num_frames(self) -> int:
        """So far."""
        return 0 if self._latest is None else self._latest.number + 1

    @property
    def num_kept(self) -> int:
        """Frames in memory."""
        return len(self._kept)

    @property
    def duration_seconds(self) -> float:
        """So far."""
        return 0.0 if self._latest is None else float(self._latest.end - self._begin)

    def move_origin(self, seconds: int) -> None:
        """Count times of clips from `seconds` later on."""
        self._begin += seconds

    def frames(self, indices: np.ndarray) -> Tensor:
        """See `VideoFrames.frames`."""
        return torch.stack([self._kept[number][1] for number in indices.tolist()]).permute(0, 2, 3, 1)

    def stream(self, indices: np.ndarray) -> Iterator[Tensor]:
        """See `VideoFrames.stream`."""
        return (self._kept[number][1] for number in indices.tolist())

    def add(self, frame: LiveFrame) -> LiveWindow | None:
        """Take the next frame; gives the window that it completes."""
        self._latest = frame
        if frame.picture is not None:
            self._kept[frame.number] = frame.seconds, frame.picture
        sampling, in_step = self._sampling, self._sampling.frames_in_step
        last_of_window = (sampling.num_steps * sampling.frames_per_step - 1) * sampling.frame_stride
        window = None
        if frame.number == self._next_step * in_step + last_of_window:
            end_step = self._next_step + sampling.num_steps
            window = self._window(WindowSpec(video=self._video, start_step=self._next_step, end_step=end_step))
            self._next_step += self._distance
        # No window to come begins before one that would end here.
        first = (-(-self.num_frames // in_step) - sampling.num_steps) * in_step
        while self._kept and next(iter(self._kept)) < first:
            del self._kept[next(iter(self._kept))]
        return window

    def end(self) -> Iterator[LiveWindow]:
        """The windows that are left when no frame follows."""
        if not self.num_frames:
            return
        places = window_specs_of(self._video, sampling=self._sampling, count_frames=lambda: self.num_frames)
        last_done = self._next_step - self._distance if self._next_step else -1
        for place in places:
            if place.start_step > last_done:
                yield self._window(place)

    def _window(self, place: WindowSpec) -> LiveWindow:
        clip = clip_of(place, file=self, config=self._config)
        assert clip.frame_numbers is not None and self._latest is not None
        first, last = int(clip.frame_numbers[0]), int(clip.frame_numbers[-1])
        (begin, _), (latest, _) = self._kept[first], self._kept[last]
        per_frame = (latest - begin) / (last - first) if last > first else self._latest.duration
        per_step = self._sampling.frames_in_step * per_frame
        grid = TimeGrid(
            start_seconds=float(begin - self._begin),
            seconds_per_step=float(per_step),
            duration_seconds=np.inf,
        )
        following = self._kept.get(first + self._sampling.frames_in_step)
        next_begin = begin + per_step if following is None else following[0]
        return LiveWindow(clip=replace(clip, grid=grid), next_seconds=float(next_begin - self._begin))
