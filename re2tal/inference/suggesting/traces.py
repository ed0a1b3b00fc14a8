"""What a detector makes of a whole video, kept small: its detections, and features of its pyramid over time.

B batch, C channels, S_l steps of level l, F cells of time, N detections.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from re2tal.common.atomic import atomic_path
from re2tal.common.types import Batch, Detections
from re2tal.config import ExperimentConfig
from re2tal.detections import VideoScores
from re2tal.inference.clips import ClipDetector
from re2tal.networks.detector import Detector

__all__ = ["VideoTrace", "read_trace", "trace_clips", "write_trace"]

_FORMAT = "re2tal-trace-1"
_CELL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class VideoTrace:
    """One video as a detector sees it."""

    video_id: str
    duration_seconds: float
    segments: np.ndarray
    """(N, 2) float64, seconds."""
    scores: np.ndarray
    """(N,) float32."""
    labels: np.ndarray
    """(N,) int64."""
    features: np.ndarray
    """(F, C) float32: the mean of the pyramid's first level over each cell of time."""
    cell_seconds: float
    window_seconds: float
    """That the detector sees at once."""


def trace_clips(
    model: Detector,
    batches: Iterable[Batch],
    *,
    config: ExperimentConfig,
    device: torch.device,
    video_labels: VideoScores | None = None,
    duration_seconds: float,
    tell: Callable[[int], None] = lambda done: None,
) -> VideoTrace:
    """Run a detector on all clips of one video.

    Args:
        model: on `device`.
        batches: the video's clips, in order.
        config: of the model's experiment.
        device: to compute on.
        video_labels: see `ClipDetector`.
        duration_seconds: of the video.
        tell: called after every batch with how many clips are done.
    """
    detector = ClipDetector(model, config=config, device=device, video_labels=video_labels)
    found: list[Detections] = []
    cells = _Cells(duration_seconds)
    with _watching(model.pyramid) as seen:
        for batch in batches:
            found.extend(detector.in_batch(batch))
            levels, masks = seen.pop()
            cells.add(levels[0], masks[0], batch, stride=model.pyramid.strides[0])
            tell(len(found))
    video = detector.in_video(found)
    return VideoTrace(
        video_id=video.video_id,
        duration_seconds=duration_seconds,
        segments=video.segments.double().cpu().numpy(),
        scores=video.scores.float().clamp(0, 1).cpu().numpy(),
        labels=video.labels.cpu().numpy(),
        features=cells.means(),
        cell_seconds=cells.seconds,
        window_seconds=cells.window_seconds,
    )


@contextmanager
def _watching(pyramid: Any) -> Iterator[list[Any]]:
    """A list that gets what the pyramid gives, each time it is called."""
    seen: list[Any] = []
    assert isinstance(pyramid, nn.Module), "a pyramid is a module"
    handle = pyramid.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
    try:
        yield seen
    finally:
        handle.remove()


class _Cells:
    """Means of features over cells of a second, or of a step where steps are longer."""

    def __init__(self, duration_seconds: float) -> None:
        self._duration = duration_seconds
        self.window_seconds = 0.0
        self.seconds = _CELL_SECONDS
        self._sums: Tensor | None = None  # (F, C)
        self._counts = torch.zeros(0)  # (F,)

    def add(self, level: Tensor, mask: Tensor, batch: Batch, *, stride: int) -> None:
        """Features (B, C, S_l) of a level whose points are `stride` steps apart, and its mask (B, S_l)."""
        if self._sums is None:
            self.seconds = max(_CELL_SECONDS, *(grid.seconds_per_step * stride for grid in batch.grids))
            self.window_seconds = batch.grids[0].seconds_per_step * batch.mask.shape[1]
            count = max(int(np.ceil(self._duration / self.seconds)), 1)
            self._sums, self._counts = torch.zeros(count, level.shape[1]), torch.zeros(count)
        for features, valid, grid in zip(level.float().cpu(), mask.cpu(), batch.grids, strict=True):
            steps = (torch.arange(features.shape[1])[valid] + 0.5) * stride
            times = grid.start_seconds + steps * grid.seconds_per_step
            places = (times / self.seconds).long().clamp(0, len(self._counts) - 1)
            self._sums.index_add_(0, places, features[:, valid].T)
            self._counts.index_add_(0, places, torch.ones(len(places)))

    def means(self) -> np.ndarray:
        """(F, C); a cell without a step is like the one before it."""
        assert self._sums is not None, "every video has a clip"
        filled = torch.cummax(torch.where(self._counts > 0, torch.arange(len(self._counts)), 0), 0).values
        means = self._sums / self._counts.clamp(min=1)[:, None]
        return means[filled].numpy()


def write_trace(path: Path, trace: VideoTrace, *, about: Mapping[str, Any]) -> None:
    """Keep a trace in a file, whole or not at all; `about` says of which video and detector it is, in JSON values."""
    header = {"video_id": trace.video_id, "duration_seconds": trace.duration_seconds}
    header |= {"cell_seconds": trace.cell_seconds, "window_seconds": trace.window_seconds, "about": about}
    tensors = {name: np.ascontiguousarray(getattr(trace, name)) for name in _TENSORS}
    with atomic_path(path) as unfinished:
        save_file(tensors, unfinished, metadata={"format": _FORMAT, "header": json.dumps(header)})


_TENSORS = {"segments": np.float64, "scores": np.float32, "labels": np.int64, "features": np.float32}


def read_trace(path: Path, *, about: Mapping[str, Any]) -> VideoTrace | None:
    """The trace in a file; None if there is none, or it is damaged, or of another video or detector than `about`."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["header"])
            if metadata["format"] != _FORMAT or header["about"] != json.loads(json.dumps(about)):
                return None
            tensors = {name: file.get_tensor(name).astype(kind) for name, kind in _TENSORS.items()}
        count = len(tensors["scores"])
        if tensors["segments"].shape != (count, 2) or tensors["labels"].shape != (count,):
            return None
        return VideoTrace(
            video_id=str(header["video_id"]),
            duration_seconds=float(header["duration_seconds"]),
            cell_seconds=float(header["cell_seconds"]),
            window_seconds=float(header["window_seconds"]),
            **tensors,
        )
    except Exception:  # a header of anything makes its reader fail in any way; the video is then looked at again
        return None
