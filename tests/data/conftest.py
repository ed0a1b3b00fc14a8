"""A small set of videos whose frames tell their own number."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from re2tal.data import DataConfig, WindowSampling
from re2tal.video import AugmentConfig, JitterConfig, RandAugmentConfig, write_video

FPS = 10
HEIGHT, WIDTH = 32, 48
GREY_PER_FRAME = 4

KEEP = AugmentConfig(
    crop=None,
    flip_probability=0.0,
    rand_augment=RandAugmentConfig(num_operations=0),
    jitter=JitterConfig(brightness=0, contrast=0, saturation=0, hue=0),
)
"""Augmentation that changes nothing but the size."""

SMALL = WindowSampling(num_steps=8, frames_per_step=2, frame_stride=2)
"""Windows of 32 frames."""


def frame_numbers(frames: Tensor) -> list[int]:
    """(3, T, H, W) -> the T frame numbers that the grey levels tell."""
    return (frames.float().mean((0, 2, 3)) / GREY_PER_FRAME).round().int().tolist()


@dataclass
class SmallSet:
    """A data set under construction in a folder."""

    folder: Path
    database: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        video_id: str,
        *,
        num_frames: int = 60,
        actions: Sequence[tuple[float, float, str]] = (),
        subset: str = "training",
        tell_frames: bool = True,
    ) -> Path:
        """Encode a video of `num_frames` (at most 64) and annotate it with (start, end, label) in seconds."""
        path = self.folder / "videos" / f"{video_id}.mp4"
        path.parent.mkdir(exist_ok=True)
        greys = (np.full((HEIGHT, WIDTH, 3), number * GREY_PER_FRAME, np.uint8) for number in range(num_frames))
        write_video(path, greys, fps=FPS, crf=1)
        entry: dict[str, Any] = {"subset": subset, "duration": num_frames / FPS}
        if tell_frames:
            entry["frame"] = num_frames
        entry["annotations"] = [{"segment": [start, end], "label": label} for start, end, label in actions]
        self.database[video_id] = entry
        return path

    def config(self, **changes: Any) -> DataConfig:
        """The configuration of this set; writes the annotation file."""
        path = self.folder / "annotations.json"
        path.write_text(json.dumps({"database": self.database}))
        values = {
            "annotations": path,
            "videos": self.folder / "videos",
            "sampling": SMALL,
            "short_side_train": 16,
            "short_side_test": 16,
            "crop_size": (16, 16),
        }
        return DataConfig(**(values | changes))


@pytest.fixture
def small_set(tmp_path: Path) -> SmallSet:
    return SmallSet(tmp_path)
