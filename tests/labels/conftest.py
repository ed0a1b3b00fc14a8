"""Folders of tiny videos."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from re2tal.video import write_video

FPS = 10
SECONDS = 12.0


def make_videos(folder: Path, lengths: Mapping[str, float], *, fps: float = FPS) -> Path:
    """Black videos of so many seconds, below `folder`."""
    for name, seconds in lengths.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.zeros((round(seconds * fps), 16, 24, 3), np.uint8), fps=fps)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4, b.mp4, c.mp4 and d.mp4, of 12 s at 10 frames per second."""
    return make_videos(tmp_path_factory.mktemp("clips"), {f"{name}.mp4": SECONDS for name in "abcd"})
