"""Features of a video's windows -> those of the whole video, as one long clip.

W windows, C channels, S steps of a window, T steps of the video.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from re2tal.common.types import FeatureBatch, TimeGrid
from re2tal.data.windows import nearest_windows

__all__ = ["WholeVideos"]


@dataclass(frozen=True, kw_only=True)
class _Window:
    features: Tensor
    """(C, S)."""
    mask: Tensor
    """(S,) bool."""
    grid: TimeGrid


class WholeVideos:
    """Puts the windows of videos together, which may come in any order.

    What waits in memory are the features of videos of which windows are yet to come.
    """

    def __init__(self, num_windows: Mapping[str, int]) -> None:
        """
        Args:
            num_windows: of each video, by its id.
        """
        self._num_windows = num_windows
        self._waiting: dict[str, list[_Window]] = {}

    def add(self, batch: FeatureBatch) -> Iterator[FeatureBatch]:
        """Take windows; gives the videos that they complete, (1, C, T) each, without actions."""
        for video_id, features, mask, grid in zip(
            batch.video_ids, batch.features, batch.mask, batch.grids, strict=True
        ):
            windows = self._waiting.setdefault(video_id, [])
            windows.append(_Window(features=features, mask=mask, grid=grid))
            if len(windows) == self._num_windows[video_id]:
                yield _whole(video_id, self._waiting.pop(video_id))


def _whole(video_id: str, windows: list[_Window]) -> FeatureBatch:
    windows.sort(key=lambda window: window.grid.start_seconds)
    first, num_steps = windows[0], windows[0].features.shape[1]
    begin, per_step = first.grid.start_seconds, first.grid.seconds_per_step
    starts = [round((window.grid.start_seconds - begin) / per_step) for window in windows]
    nearest = nearest_windows(starts, num_steps=num_steps, total_steps=starts[-1] + num_steps)
    steps = [torch.from_numpy(np.flatnonzero(nearest == number) - start) for number, start in enumerate(starts)]

    def together(parts: list[Tensor]) -> Tensor:
        """W tensors (..., S) -> (1, ..., T)."""
        chosen = [part[..., which.to(part.device)] for part, which in zip(parts, steps, strict=True)]
        return torch.cat(chosen, dim=-1)[None]

    nothing = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    return FeatureBatch(
        video_ids=(video_id,),
        features=together([window.features for window in windows]),
        mask=together([window.mask for window in windows]),
        grids=(replace(first.grid),),
        segments=nothing[:1],
        labels=nothing[1:],
    )
