"""The values that travel through the package, each checked when it is made.

B batch, T frames, S steps of the feature grid, H/W space, N segments, K classes.
A *step* is one position of the detector's time axis. Frames, steps and seconds never mix silently:
segments are in steps up to `Proposals` and in seconds from `Detections` on; `TimeGrid` converts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from re2tal.common.checked import FrameChange, ShapesInRepr, require
from re2tal.common.labelled import LabelledTime, Stretches, without

__all__ = [
    "Action",
    "AnnotatedVideo",
    "Batch",
    "Clip",
    "Detections",
    "FeatureBatch",
    "FeatureClip",
    "FrameChange",
    "PixelBatch",
    "PixelClip",
    "Proposals",
    "TimeGrid",
]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One labelled action: `label` happens from `start_seconds` to `end_seconds`."""

    start_seconds: float
    end_seconds: float
    label: str

    def __post_init__(self) -> None:
        require(
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
    labelled: Stretches | None = None
    """What somebody has looked at: (start, end) in seconds; None: the whole video."""
    left_out: tuple[tuple[float, float], ...] = ()
    """Where annotations lie that are no actions to train on: (start, end) in seconds. Nothing is known to be empty
    there."""
    frame_rate: float | None = None
    """Frames per second, as the annotation tells them; None where it does not."""

    def __post_init__(self) -> None:
        require(
            self.duration_seconds > 0,
            f"video {self.video_id!r}: duration must be above 0 s, got {self.duration_seconds}",
        )

    @property
    def annotated(self) -> tuple[tuple[float, float], ...]:
        """Where annotations of any kind lie, in seconds."""
        return (*((action.start_seconds, action.end_seconds) for action in self.actions), *self.left_out)

    @property
    def empty(self) -> Stretches:
        """Stretches that are known to show no action."""
        whole = ((0.0, self.duration_seconds),) if self.labelled is None else self.labelled
        return without(whole, self.annotated)

    @property
    def time(self) -> LabelledTime:
        """How much of it is labelled."""
        return LabelledTime.of(duration=self.duration_seconds, labelled=self.labelled, annotated=self.annotated)


@dataclass(frozen=True, kw_only=True)
class TimeGrid:
    """Where the steps of a clip lie in its video: `seconds = start_seconds + step * seconds_per_step`."""

    start_seconds: float
    seconds_per_step: float
    duration_seconds: float
    """Of the whole video; converted segments are clamped to [0, duration]."""

    def __post_init__(self) -> None:
        require(
            self.seconds_per_step > 0 and self.duration_seconds > 0,
            f"seconds_per_step and duration_seconds must be above 0, got {self}",
        )

    def to_seconds(self, segments: Tensor) -> Tensor:
        """(..., 2) segments in steps -> (..., 2) in seconds, clamped to the video."""
        return (segments * self.seconds_per_step + self.start_seconds).clamp(0.0, self.duration_seconds)


@dataclass(frozen=True, kw_only=True, repr=False)
class Clip(ShapesInRepr, ABC):
    """One sample: what the network sees of a clip, the part of the step grid that is real, and its actions on it."""

    video_id: str
    mask: Tensor
    """(S,) bool, True where a step lies inside the video."""
    grid: TimeGrid
    segments: Tensor
    """(N, 2) float32, in steps; empty in testing."""
    labels: Tensor
    """(N,) int64 class indices."""
    frame_numbers: Tensor | None = None
    """(T,) int64: which frames of the file they are, or features are of; None where nobody asks."""
    labelled: Tensor | None = None
    """(S,) bool, True where somebody has looked: the other steps have no part in the loss. None: everywhere."""

    def __post_init__(self) -> None:
        require(self.mask.dtype == torch.bool and self.mask.ndim == 1, f"mask must be (S,) bool, got {self}")
        require(
            self.labelled is None or (self.labelled.dtype == torch.bool and self.labelled.shape == self.mask.shape),
            f"labelled must be (S,) bool as the mask, got {self}",
        )
        require(
            self.segments.shape == (len(self.labels), 2) and self.labels.dtype == torch.int64,
            f"segments must be (N, 2) and labels (N,) int64, got {self}",
        )

    @property
    @abstractmethod
    def inputs(self) -> Tensor:
        """What the network sees."""

    @abstractmethod
    def batch(self, clips: Sequence[Any], inputs: Tensor, **common: Any) -> "Batch":
        """A batch of clips of this kind, of their stacked inputs and what batches of all kinds hold."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PixelClip(Clip):
    """A clip of frames."""

    frames: Tensor
    """(3, T, H, W) uint8, RGB."""
    change: FrameChange | None = None
    """What is yet to be done to them, see `PixelBatch.ready_on`; None: nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.frames.dtype == torch.uint8 and self.frames.ndim == 4 and self.frames.shape[0] == 3,
            f"frames must be (3, T, H, W) uint8, got {self}",
        )
        require(
            self.frame_numbers is None or self.frame_numbers.shape == self.frames.shape[1:2],
            f"frame_numbers must be (T,), one for each frame, got {self}",
        )

    @property
    def inputs(self) -> Tensor:
        """The frames."""
        return self.frames

    def batch(self, clips: Sequence["PixelClip"], inputs: Tensor, **common: Any) -> "PixelBatch":
        """A batch of frames."""
        changes = tuple(clip.change for clip in clips)
        return PixelBatch(frames=inputs, changes=changes if any(changes) else (), **common)


@dataclass(frozen=True, kw_only=True, repr=False)
class FeatureClip(Clip):
    """A clip of features, which a frozen backbone made of its frames earlier."""

    features: Tensor
    """(C, S) float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.features.dtype == torch.float32 and self.features.shape[1:] == self.mask.shape,
            f"features must be (C, S) float32, with the S steps of the mask, got {self}",
        )

    @property
    def inputs(self) -> Tensor:
        """The features."""
        return self.features

    def batch(self, clips: Sequence[Any], inputs: Tensor, **common: Any) -> "FeatureBatch":
        """A batch of features."""
        return FeatureBatch(features=inputs, **common)


@dataclass(frozen=True, kw_only=True, repr=False)
class Batch(ShapesInRepr, ABC):
    """Clips of one kind and of equal size, stacked."""

    video_ids: tuple[str, ...]
    mask: Tensor
    """(B, S) bool."""
    grids: tuple[TimeGrid, ...]
    segments: tuple[Tensor, ...]
    """B tensors (N_b, 2) float32, in steps."""
    labels: tuple[Tensor, ...]
    """B tensors (N_b,) int64."""
    frame_numbers: tuple[Tensor | None, ...] = ()
    """B tensors (T,) int64 on the CPU, see `Clip`; empty where nobody asks."""
    labelled: Tensor | None = None
    """(B, S) bool, see `Clip`; None: everywhere."""

    def __post_init__(self) -> None:
        size = len(self.video_ids)
        counts = (len(self.inputs), len(self.mask), len(self.grids), len(self.segments), len(self.labels))
        require(all(count == size for count in counts), f"every field must hold {size} clips, got {self}")

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    @abstractmethod
    def inputs(self) -> Tensor:
        """What the network sees."""

    @abstractmethod
    def with_inputs(self, inputs: Tensor) -> Self:
        """The batch with other inputs of the same kind."""

    @abstractmethod
    def features_by(self, backbone: Callable[["PixelBatch"], Tensor]) -> "FeatureBatch":
        """The batch with (B, C, S) features that `backbone` makes of its frames, or that it holds already."""

    def _common(self) -> dict[str, Any]:
        """What batches of all kinds hold."""
        return {field.name: getattr(self, field.name) for field in fields(Batch)}

    def to(self, device: torch.device | str) -> Self:
        """The batch on `device`; copies from pinned memory do not block."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def ready_on(self, device: torch.device | str) -> Self:
        """The batch on `device`, as the network is to see it."""
        return self.to(device)

    def pin_memory(self) -> Self:
        """The batch in page-locked memory (called by `DataLoader(pin_memory=True)`)."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self.with_inputs(move(self.inputs)),
            mask=move(self.mask),
            segments=tuple(map(move, self.segments)),
            labels=tuple(map(move, self.labels)),
            labelled=None if self.labelled is None else move(self.labelled),
        )

    @staticmethod
    def stack(clips: Sequence[Clip]) -> "Batch":
        """Stack clips of equal shape; raises a ValueError that names the odd one out."""
        first = clips[0]
        for clip in clips:
            require(
                type(clip) is type(first)
                and clip.inputs.shape == first.inputs.shape
                and clip.mask.shape == first.mask.shape,
                f"clips of one batch must be of one kind and shape, got {first} and {clip}",
            )
        return first.batch(
            clips,
            torch.stack([clip.inputs for clip in clips]),
            video_ids=tuple(clip.video_id for clip in clips),
            mask=torch.stack([clip.mask for clip in clips]),
            grids=tuple(clip.grid for clip in clips),
            segments=tuple(clip.segments for clip in clips),
            labels=tuple(clip.labels for clip in clips),
            frame_numbers=tuple(clip.frame_numbers for clip in clips),
            labelled=_stack_labelled(clips),
        )


def _stack_labelled(clips: Sequence[Clip]) -> Tensor | None:
    """(B, S); None where all of every clip is labelled."""
    if all(clip.labelled is None for clip in clips):
        return None
    everywhere = torch.ones_like(clips[0].mask)
    return torch.stack([everywhere if clip.labelled is None else clip.labelled for clip in clips])


@dataclass(frozen=True, kw_only=True, repr=False)
class PixelBatch(Batch):
    """Stacked frames."""

    frames: Tensor
    """(B, 3, T, H, W) uint8, RGB."""
    changes: tuple[FrameChange | None, ...] = ()
    """What is yet to be done to each clip's frames; (): nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.frames.ndim == 5, f"frames must be (B, 3, T, H, W), got {self}")
        require(len(self.changes) in (0, len(self)), f"changes must be one for each clip, got {self}")

    @property
    def inputs(self) -> Tensor:
        """The frames."""
        return self.frames

    def with_inputs(self, inputs: Tensor) -> Self:
        """Other frames."""
        return replace(self, frames=inputs)

    def ready_on(self, device: torch.device | str) -> Self:
        """The batch on `device`, with its frames changed there as they are yet to be."""
        batch = self.to(device)
        if not batch.changes:
            return batch
        frames = batch.frames.clone() if batch.frames is self.frames else batch.frames
        for clip, change in zip(frames, batch.changes, strict=True):
            if change is not None:
                clip.copy_(change(clip))
        return replace(batch, frames=frames, changes=())

    def features_by(self, backbone: Callable[["PixelBatch"], Tensor]) -> "FeatureBatch":
        """What `backbone` makes of the frames."""
        return FeatureBatch(features=backbone(self), **self._common())


@dataclass(frozen=True, kw_only=True, repr=False)
class FeatureBatch(Batch):
    """Stacked features."""

    features: Tensor
    """(B, C, S) of a floating-point type."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.features.ndim == 3 and self.features.shape[2:] == self.mask.shape[1:],
            f"features must be (B, C, S), with the S steps of the mask, got {self}",
        )

    @property
    def inputs(self) -> Tensor:
        """The features."""
        return self.features

    def with_inputs(self, inputs: Tensor) -> Self:
        """Other features."""
        return replace(self, features=inputs)

    def features_by(self, backbone: Callable[[PixelBatch], Tensor]) -> "FeatureBatch":
        """They are there."""
        return self


@dataclass(frozen=True, kw_only=True, repr=False)
class Proposals(ShapesInRepr):
    """What the heads say of one clip: a segment and K class scores for every valid point."""

    segments: Tensor
    """(N, 2) float, in steps."""
    scores: Tensor
    """(N, K) float in [0, 1]."""

    def __post_init__(self) -> None:
        require(
            self.segments.ndim == 2 and self.segments.shape[1] == 2 and len(self.scores) == len(self.segments),
            f"segments must be (N, 2) and scores (N, K), got {self}",
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Detections(ShapesInRepr):
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
        require(
            self.segments.shape == (count, 2) and self.labels.shape == (count,),
            f"segments must be (N, 2), scores and labels (N,), got {self}",
        )
