"""Classes whose actions are all too long, or all too short, to be learned in clips as they are cut."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil, inf, log2
from statistics import median

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import shown
from re2tal.data.config import ResizeSampling, Sampling, WindowSampling

__all__ = ["misfits"]


def misfits(videos: Sequence[AnnotatedVideo], sampling: Sampling, *, fps: float) -> Iterator[str]:
    """What to say of each class of which no action fits into a clip or reaches one step, with the setting that helps.

    Args:
        videos: that are trained on.
        sampling: how clips are cut.
        fps: of videos whose annotations do not count frames.
    """
    lengths: dict[str, list[float]] = defaultdict(list)
    shares: dict[str, float] = defaultdict(float)
    for video in videos:
        rate = video.num_frames / video.duration_seconds if video.num_frames else fps
        for action in video.actions:
            seconds = action.end_seconds - action.start_seconds
            share = seconds / video.duration_seconds
            shares[action.label] = max(shares[action.label], share)
            match sampling:
                case WindowSampling():
                    lengths[action.label].append(seconds * rate / sampling.frames_in_step)
                case ResizeSampling():
                    lengths[action.label].append(share * sampling.num_steps)
    for label, steps in sorted(lengths.items()):
        match sampling:
            case WindowSampling():
                told = _in_windows(steps, sampling)
            case ResizeSampling():
                told = _in_whole_videos(max(steps), shares[label], sampling)
        if told is not None:
            yield f"all {len(steps)} training actions of {shown(label)} {told}"


def _in_windows(steps: Sequence[float], sampling: WindowSampling) -> str | None:
    """Of one class, whose actions have these lengths in steps."""
    num_steps, stride = sampling.num_steps, sampling.frame_stride
    if min(steps) > num_steps:
        half, all_ = (ceil(stride * length / num_steps) for length in (median(steps), max(steps)))
        times = " to ".join(dict.fromkeys(f"{length / num_steps:.3g}" for length in (min(steps), max(steps))))
        return (
            f"outlast the window ({times} times), so none can be found whole; data.sampling.frame_stride={half} makes "
            f"the window long enough for half of them, {all_} for all"
        )
    if max(steps) >= 1:
        return None
    frames = max(steps) * sampling.frames_in_step
    if frames < 1:
        return "are shorter than a frame of their video, so none can be found; correct their times"
    per_step = min(sampling.frames_per_step, int(frames))
    fix = f"data.sampling.frame_stride={int(frames) // per_step}"
    if per_step < sampling.frames_per_step:
        fix += f" data.sampling.frames_per_step={per_step}"
    return f"are shorter than a step, so their ends cannot be told apart; {fix} makes steps as short as the longest"


def _in_whole_videos(longest_steps: float, longest_share: float, sampling: ResizeSampling) -> str | None:
    """Of one class, whose longest action has this length and this share of its video."""
    fixes = []
    if longest_share <= sampling.min_share:
        fixes.append("data.sampling.min_share=0")
    if longest_steps < 1:
        factor = 2 ** ceil(log2(1 / longest_steps)) if longest_steps > 0 else inf
        if factor == inf:
            return "have no length, so none can be found; correct their times"
        fixes.append(f"data.sampling.num_steps={sampling.num_steps * factor}")
    if not fixes:
        return None
    left_out = f"cover no more than min_share={sampling.min_share:g} of their video, so training leaves them out"
    short = "are shorter than a step of their video, so their ends cannot be told apart"
    return f"{left_out if longest_share <= sampling.min_share else short}; {' '.join(fixes)} keeps the longest"
