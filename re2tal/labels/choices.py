"""From the numbers of a data set to the settings of a run, by rules that the written config repeats in words.

A step is one position of the detector's time axis, a window what it sees at once. Times are in seconds.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

from re2tal.data import ResizeSampling, WindowSampling
from re2tal.data.annotations import select_subset
from re2tal.data.class_lengths import misfits
from re2tal.data.config import Sampling
from re2tal.labels.measure import DataSet, Measures

__all__ = ["BUDGETS", "Budget", "Choices", "Size", "cache_mib_of", "choose", "class_hints", "crop_of"]

Size = Literal["small", "medium", "large"]

STEPS_IN_SHORT_ACTIONS = 6
"""Steps that all but the shortest tenth of the actions should cover: with both ends off by one step, the tIoU is still
about 0.7 (4/6, 5/7 or 6/8)."""
ROOM_AROUND_LONG_ACTIONS = 1.5
"""Length of a window over that of a long action, so that the action fits in with what is around it."""
WHOLE_VIDEO_SHARE = 0.75
"""Where a window would cover this much of most videos, the whole video is shown at once."""
MOST_NEGATIVES = 0.5
"""Share of the training clips that shows no action, at most; below, as much as of the labelled time."""
LEAST_FPS = 4.0
"""Pictures per second below which motion is hardly seen."""
_MIN_STEPS = 64
_MAX_CACHE_MIB = 4096


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a size of network and machine can bear."""

    max_frames: int
    """Of one clip."""
    frames_per_step: int
    """At least."""
    pixels: int
    """Of one frame."""
    batch_size: int
    train_steps: int
    """Optimizer steps that a training should have at least."""


BUDGETS: dict[Size, Budget] = {
    "small": Budget(max_frames=128, frames_per_step=1, pixels=60 * 80, batch_size=2, train_steps=1500),
    "medium": Budget(max_frames=256, frames_per_step=1, pixels=112 * 112, batch_size=4, train_steps=3000),
    "large": Budget(max_frames=1024, frames_per_step=2, pixels=224 * 224, batch_size=2, train_steps=4000),
}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The settings that depend on the data."""

    size: Size
    whole_video: bool
    """One clip is the whole video, resized in time."""
    num_steps: int
    frames_per_step: int
    frame_stride: int
    seconds_per_step: float
    """With whole videos, of the median one."""
    levels: int
    first_reach: int
    """Steps."""
    center_radius: float
    """Steps of a level."""
    test_overlap: float
    crop_size: tuple[int, int]
    """(height, width)."""
    short_side_train: int
    batch_size: int
    epochs: int
    cache_mib: int
    points_per_batch: float
    """About how many points learn to predict an action in one batch."""
    max_segments: int
    negative_share: float
    """Of the training clips; 0 where no video and no labelled stretch is known to show no action."""

    @property
    def sampling(self) -> Sampling:
        """How clips are cut, as far as lengths of actions go."""
        if self.whole_video:
            return ResizeSampling(num_steps=self.num_steps, frames_per_step=self.frames_per_step)
        return WindowSampling(
            num_steps=self.num_steps, frames_per_step=self.frames_per_step, frame_stride=self.frame_stride
        )

    @property
    def num_frames(self) -> int:
        """Of one clip."""
        return self.num_steps * self.frames_per_step

    @property
    def window_seconds(self) -> float:
        """Length of one clip."""
        return self.num_steps * self.seconds_per_step

    def reach_seconds(self, level: int) -> float:
        """How far from a point of a level, counted from 0, the farther end of an action may lie."""
        return self.first_reach * 2**level * self.seconds_per_step


def choose(measures: Measures, *, size: Size, memory_mib: int = 0) -> Choices:
    """Choose the settings of a data set.

    Args:
        measures: of its training videos.
        size: of the network, and so of what a clip may hold.
        memory_mib: of the machine; an eighth of it may keep decoded frames.
    """
    budget = BUDGETS[size]
    wanted_step = measures.short / STEPS_IN_SHORT_ACTIONS
    room = ROOM_AROUND_LONG_ACTIONS * measures.long
    whole_video = room >= WHOLE_VIDEO_SHARE * measures.video_long
    if whole_video:
        per_step, stride = _per_step(measures.video_long / _MIN_STEPS, budget), 1
        num_steps = _round_steps(measures.video_long / wanted_step, limit=budget.max_frames // per_step)
        step = measures.video_median / num_steps
    else:
        per_step, stride, num_steps = _window(measures, budget, wanted_step=wanted_step, room=room)
        step = per_step * stride / measures.fps
    radius = min(max(round(measures.median / step / 2) / 2, 1.5), 6.0)
    # The farther end of three actions in four is then within reach of every point that learns to predict them.
    reach = int(min(max(2 ** ceil(log2(measures.upper / step / 2 + radius) - 0.1), 4), 32))
    farthest = measures.longest / step / 2 + radius
    levels = min(max(1 + ceil(log2(max(farthest / reach, 1))), 2), int(log2(num_steps)) - 2, 6)
    crop = crop_of(measures, pixels=budget.pixels)
    batch_size = min(budget.batch_size, measures.num_train)
    short_side = round(min(crop) * (256 / 224 if size == "large" else 1.4))
    clip_seconds = measures.video_median if whole_video else min(num_steps * step, measures.video_median)
    negatives = _negative_share(measures, window_seconds=None if whole_video else num_steps * step)
    actions = max(measures.actions_per_minute * clip_seconds / 60, 1) * (1 - negatives)
    return Choices(
        size=size,
        whole_video=whole_video,
        num_steps=num_steps,
        frames_per_step=per_step,
        frame_stride=stride,
        seconds_per_step=step,
        levels=levels,
        first_reach=reach,
        center_radius=radius,
        test_overlap=0.75 if measures.long > 0.5 * num_steps * step or size == "small" else 0.5,
        crop_size=crop,
        short_side_train=short_side,
        batch_size=batch_size,
        epochs=_epochs(budget.train_steps * batch_size / measures.num_train),
        cache_mib=cache_mib_of(
            measures, per_second=1 / (step / per_step), short_side=short_side, memory_mib=memory_mib
        ),
        points_per_batch=round(batch_size * actions * max(min(2 * radius, measures.median / step), 1), 1),
        max_segments=_max_segments(measures),
        negative_share=negatives,
    )


def class_hints(data: DataSet, measures: Measures, choices: Choices) -> list[str]:
    """What to say of classes whose actions the chosen clips are all too short or too coarse for."""
    return list(misfits(select_subset(data.annotations, data.train_subset), choices.sampling, fps=measures.fps))


def _window(measures: Measures, budget: Budget, *, wanted_step: float, room: float) -> tuple[int, int, int]:
    """Frames per step, frame stride and steps of a window.

    Short actions want short steps and long ones a long window; where the budget does not bear both, the steps are made
    longer until a window holds all but the longest twentieth of the actions.
    """
    per_step = _per_step(wanted_step, budget)
    limit = _power_of_two(budget.max_frames // per_step)
    step = max(wanted_step, measures.long / limit, per_step / measures.fps)
    stride = max(round(step * measures.fps / per_step), 1)
    # Rounding down must not make the window too short again.
    while stride * per_step * limit / measures.fps < measures.long:
        stride += 1
    step = stride * per_step / measures.fps
    needed = min(room, measures.video_longest)
    return per_step, stride, _round_steps(needed / step, limit=limit)


def _per_step(step: float, budget: Budget) -> int:
    """Frames of one step: few, unless a step is so long that motion would not be seen, and steps enough are left."""
    per_step = budget.frames_per_step
    while per_step < 4 and per_step / step < LEAST_FPS and 2 * per_step * _MIN_STEPS <= budget.max_frames:
        per_step *= 2
    return per_step


def _round_steps(number: float, *, limit: int) -> int:
    """The power of two from there on, within bounds; halving it gives the levels."""
    return min(2 ** ceil(log2(max(number, _MIN_STEPS))), _power_of_two(limit))


def _power_of_two(number: int) -> int:
    """The largest that is not above `number`."""
    return 1 << (number.bit_length() - 1)


def crop_of(measures: Measures, *, pixels: int) -> tuple[int, int]:
    """Height and width of the videos' shape, about so many pixels, in multiples of 4, not more than the videos have."""
    aspect = min(max(measures.aspect, 9 / 16), 16 / 9)
    ratio = max(aspect, 1 / aspect)
    short = max(round((min(pixels, measures.pixels) / ratio) ** 0.5 / 4) * 4, 16)
    long = int(short * ratio / 4 + 1e-6) * 4  # rounded down, so that it fits into the resized frames
    return (short, long) if aspect >= 1 else (long, short)


def _epochs(number: float) -> int:
    """Two digits, not too few for the learning rate to fall, not so many that evaluations are all that is done."""
    bounded = min(max(number, 8), 300)
    return round(bounded / 10) * 10 if bounded > 25 else ceil(bounded)


def cache_mib_of(measures: Measures, *, per_second: float, short_side: int, memory_mib: int) -> int:
    """MiB that hold the decoded frames of all training videos; 0 if they do not fit."""
    aspect = max(measures.aspect, 1 / measures.aspect)
    mib = measures.total_seconds * min(per_second, measures.fps) * 3 * short_side**2 * aspect / 2**20
    needed = ceil(1.2 * mib / 64) * 64
    return needed if needed <= min(memory_mib // 8, _MAX_CACHE_MIB) else 0


def _max_segments(measures: Measures) -> int:
    """Detections of a video: ten for each action of a long one, in hundreds."""
    actions = measures.actions_per_minute * measures.video_longest / 60
    return int(min(max(ceil(actions / 10) * 100, 200), 2000))


def _negative_share(measures: Measures, *, window_seconds: float | None) -> float:
    """How much of the labelled time clips without an action can be cut from; whole videos have no window."""
    usable = sum(measures.empty_videos)
    if window_seconds is not None:
        # A little longer, so that a window fits in when its ends are whole frames.
        usable += sum(length for length in measures.empty_stretches if length > 1.1 * window_seconds)
    return round(min(usable / measures.time.labelled, MOST_NEGATIVES), 2)
