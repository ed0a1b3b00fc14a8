"""The values that travel through the package, each checked when it is made.

B batch, T frames, S steps of the feature grid, H/W space, N segments, K classes.
A *step* is one position of the detector's time axis. Frames, steps and seconds never mix silently:
segments are in steps up to `Proposals` and in seconds from `Detections` on; `TimeGrid` converts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Action", "AnnotatedVideo", "Batch", "Clip", "Detections", "Proposals", "TimeGrid"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class _ShapesInRepr:
    """Print the shapes of tensors, not their numbers."""

    def __repr__(self) -> str:
        def show(value: Any) -> str:
            if isinstance(value, Tensor):
                return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
            if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
                return f"({', '.join(show(item) for item in value)})"
            return repr(value)

        return f"{type(self).__name__}({', '.join(f'{name}={show(value)}' for name, value in vars(self).items())})"


@dataclass(frozen=True, kw_only=True)
class Action:
    """One labelled action: `label` happens from `start_seconds` to `end_seconds`."""

    start_seconds: float
    end_seconds: float
    label: str

    def __post_init__(self) -> None:
        _require(
            self.start_seconds < self.end_seconds,
            f"an action must end after it starts, got {self.label!r} from {self.start_seconds} to {self.end_seconds} s",
        )


@dataclass(frozen=True, kw_only=True)
class AnnotatedVideo:
    """One entry of an annotation file."""

    video_id: str
    subset: str
    duration_seconds: float
    num_frames: int | None
    """As the annotation counts them; None where it does not say."""
    actions: tuple[Action, ...]

    def __post_init__(self) -> None:
        _require(
            self.duration_seconds > 0,
            f"video {self.video_id!r}: duration must be above 0 s, got {self.duration_seconds}",
        )


@dataclass(frozen=True, kw_only=True)
class TimeGrid:
    """Where the steps of a clip lie in its video: `seconds = start_seconds + step * seconds_per_step`."""

    start_seconds: float
    seconds_per_step: float
    duration_seconds: float
    """Of the whole video; converted segments are clamped to [0, duration]."""

    def __post_init__(self) -> None:
        _require(
            self.seconds_per_step > 0 and self.duration_seconds > 0,
            f"seconds_per_step and duration_seconds must be above 0, got {self}",
        )

    def to_seconds(self, segments: Tensor) -> Tensor:
        """(..., 2) segments in steps -> (..., 2) in seconds, clamped to the video."""
        return (segments * self.seconds_per_step + self.start_seconds).clamp(0.0, self.duration_seconds)


@dataclass(frozen=True, kw_only=True, repr=False)
class Clip(_ShapesInRepr):
    """One sample: frames, the part of the step grid that is real, and its actions on that grid."""

    video_id: str
    frames: Tensor
    """(3, T, H, W) uint8, RGB; or, in their place, (C, S) float32: what a frozen backbone makes of them."""
    mask: Tensor
    """(S,) bool, True where a step lies inside the video."""
    grid: TimeGrid
    segments: Tensor
    """(N, 2) float32, in steps; empty in testing."""
    labels: Tensor
    """(N,) int64 class indices."""
    frame_numbers: Tensor | None = None
    """(T,) int64: which frames of the file they are, or features are of; None where nobody asks."""

    def __post_init__(self) -> None:
        is_pixels = self.frames.dtype == torch.uint8 and self.frames.ndim == 4 and self.frames.shape[0] == 3
        is_features = self.frames.dtype == torch.float32 and self.frames.ndim == 2
        _require(is_pixels or is_features, f"frames must be (3, T, H, W) uint8 or (C, S) float32, got {self}")
        _require(self.mask.dtype == torch.bool and self.mask.ndim == 1, f"mask must be (S,) bool, got {self}")
        _require(
            is_pixels or self.frames.shape[1:] == self.mask.shape, f"features and mask must have S steps, got {self}"
        )
        _require(
            self.segments.shape == (len(self.labels), 2) and self.labels.dtype == torch.int64,
            f"segments must be (N, 2) and labels (N,) int64, got {self}",
        )
        _require(
            self.frame_numbers is None or is_features or self.frame_numbers.shape == self.frames.shape[1:2],
            f"frame_numbers must be (T,), one for each frame, got {self}",
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Batch(_ShapesInRepr):
    """Clips of equal size, stacked."""

    video_ids: tuple[str, ...]
    frames: Tensor
    """(B, 3, T, H, W) uint8, RGB; or (B, C, S) float32, see `holds_features`."""
    mask: Tensor
    """(B, S) bool."""
    grids: tuple[TimeGrid, ...]
    segments: tuple[Tensor, ...]
    """B tensors (N_b, 2) float32, in steps."""
    labels: tuple[Tensor, ...]
    """B tensors (N_b,) int64."""
    frame_numbers: tuple[Tensor | None, ...] = ()
    """B tensors (T,) int64 on the CPU, see `Clip`; empty where nobody asks."""

    def __post_init__(self) -> None:
        size = len(self.video_ids)
        counts = (len(self.frames), len(self.mask), len(self.grids), len(self.segments), len(self.labels))
        _require(all(count == size for count in counts), f"every field must hold {size} clips, got {self}")

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def holds_features(self) -> bool:
        """Whether `frames` are features that a backbone made of frames earlier."""
        return self.frames.ndim == 3

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on `device`; copies from pinned memory do not block."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            frames=move(self.frames),
            mask=move(self.mask),
            segments=tuple(map(move, self.segments)),
            labels=tuple(map(move, self.labels)),
        )

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory (called by `DataLoader(pin_memory=True)`)."""
        return replace(
            self,
            frames=self.frames.pin_memory(),
            mask=self.mask.pin_memory(),
            segments=tuple(item.pin_memory() for item in self.segments),
            labels=tuple(item.pin_memory() for item in self.labels),
        )

    @staticmethod
    def stack(clips: Sequence[Clip]) -> "Batch":
        """Stack clips of equal shape; raises a ValueError that names the odd one out."""
        first = clips[0]
        for clip in clips:
            _require(
                clip.frames.shape == first.frames.shape and clip.mask.shape == first.mask.shape,
                f"clips of one batch must have one shape, got {first} and {clip}",
            )
        return Batch(
            video_ids=tuple(clip.video_id for clip in clips),
            frames=torch.stack([clip.frames for clip in clips]),
            mask=torch.stack([clip.mask for clip in clips]),
            grids=tuple(clip.grid for clip in clips),
            segments=tuple(clip.segments for clip in clips),
            labels=tuple(clip.labels for clip in clips),
            frame_numbers=tuple(clip.frame_numbers for clip in clips),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Proposals(_ShapesInRepr):
    """What the heads say of one clip: a segment and K class scores for every valid point."""

    segments: Tensor
    """(N, 2) float, in steps."""
    scores: Tensor
    """(N, K) float in [0, 1]."""

    def __post_init__(self) -> None:
        _require(
            self.segments.ndim == 2 and self.segments.shape[1] == 2 and len(self.scores) == len(self.segments),
            f"segments must be (N, 2) and scores (N, K), got {self}",
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Detections(_ShapesInRepr):
    """What was found in one video, best first after post-processing."""

    video_id: str
    segments: Tensor
    """(N, 2) float, in seconds."""
    scores: Tensor
    """(N,) float in [0, 1]; above 1 only where a classifier of whole videos gives scores above 1."""
    labels: Tensor
    """(N,) int64 class indices."""

    def __post_init__(self) -> None:
        count = len(self.scores)
        _require(
            self.segments.shape == (count, 2) and self.labels.shape == (count,),
            f"segments must be (N, 2), scores and labels (N,), got {self}",
        )
