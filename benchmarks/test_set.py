"""From what a network says of all test videos of THUMOS-14 to the table of mAP: time of each part of testing.

    python benchmarks/test_set.py [--annotations thumos14.json] [--videos 20] [--seed 0] [--json]

Lengths and actions of the videos are the real ones. What the network says of every window is drawn at random around
them (`detector_outputs.py`) before the clock starts. Then runs what runs in testing, on one thread: `ClipDetector`
thresholds the windows and merges them by video, `Predictions` makes a table of it, which is measured at five tIoUs. The
config is that of the published experiments. Seconds are the processor's; `wall` is the clock's, on a machine that may
do other things.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import detector_outputs
import numpy as np
import torch
from torch import nn

from re2tal.common.types import Batch, Detections, FeatureClip, Proposals, TimeGrid
from re2tal.config import override
from re2tal.config.presets import thumos
from re2tal.evaluation import GroundTruth, Predictions, mean_average_precision, read_ground_truth
from re2tal.inference import ClipDetector
from re2tal.networks.backbones import SwinConfig

DATA = Path(os.environ.get("RE2TAL_DATA", Path(__file__).parents[2] / "shared/data"))
ANNOTATIONS = DATA / "annotations/thumos14/thumos14.json"
FPS = 30.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the network says of one."""

    video_id: str
    grid: TimeGrid
    proposals: Proposals


class Recorded(nn.Module):
    """A network that says what was drawn for it, window after window."""

    def __init__(self, windows: list[Window]) -> None:
        super().__init__()
        self._windows = iter(windows)

    def forward(self, batch: Batch) -> list[Proposals]:
        return [next(self._windows).proposals for _ in batch.video_ids]


class Clock:
    """Seconds of the processor and of the wall by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.wall = 0.0
        self._last = (time.process_time(), time.perf_counter())

    def part(self, name: str) -> None:
        """What was done since the last call is this part."""
        now = (time.process_time(), time.perf_counter())
        self.seconds[name] = now[0] - self._last[0]
        self.wall += now[1] - self._last[1]
        self._last = now


def draw(truth: GroundTruth, *, num_videos: int | None, seed: int) -> list[Window]:
    """Every window of the first videos; None: of all."""
    assert truth.durations is not None
    rng = np.random.default_rng(seed)
    windows = []
    for number, video_id in enumerate(truth.video_ids[:num_videos]):
        of_video = truth.video_index == number
        video = detector_outputs.FilmedActions(
            duration_seconds=float(truth.durations[number]),
            fps=FPS,
            segments=truth.segments[of_video],
            labels=truth.label_index[of_video],
        )
        said = detector_outputs.windows_of(video, num_classes=len(truth.class_names), rng=rng)
        windows += [Window(video_id=video_id, grid=grid, proposals=proposals) for proposals, grid in said]
    return windows


def batches(windows: list[Window]) -> Iterator[Batch]:
    """What the loader would give, without anything to see."""
    for window in windows:
        clip = FeatureClip(
            video_id=window.video_id,
            features=torch.zeros(1, detector_outputs.NUM_STEPS),
            mask=torch.ones(detector_outputs.NUM_STEPS, dtype=torch.bool),
            grid=window.grid,
            segments=torch.zeros(0, 2),
            labels=torch.zeros(0, dtype=torch.int64),
        )
        yield Batch.stack([clip])


def measure(annotations: Path, *, num_videos: int | None, seed: int) -> dict[str, Any]:
    """One row."""
    config = override(thumos(name="test_set", backbone=SwinConfig()), ["training.amp=none"])
    truth = read_ground_truth(annotations, subset=config.data.test_subset, blocked=config.evaluation.blocked)
    windows = draw(truth, num_videos=num_videos, seed=seed)
    detector = ClipDetector(Recorded(windows), config=config, device=torch.device("cpu"), video_labels=None)
    given = list(batches(windows))
    clock = Clock()
    clips = list(detector.in_clips(given))
    clock.part("windows")
    videos: list[Detections] = [
        detector.in_video(list(of_video)) for _, of_video in groupby(clips, key=lambda clip: clip.video_id)
    ]
    clock.part("merging")
    found = Predictions.from_detections(videos, class_names=truth.class_names)
    result = mean_average_precision(truth, found, tious=config.evaluation.tious)
    clock.part("metric")
    return {
        "videos": len(videos),
        "windows": len(windows),
        "proposals": sum(len(window.proposals.segments) for window in windows),
        "candidates": sum(len(clip.scores) for clip in clips),
        "detections": len(found.scores),
        **{f"{name}_s": round(seconds, 3) for name, seconds in clock.seconds.items()},
        "all_s": round(sum(clock.seconds.values()), 3),
        "wall_s": round(clock.wall, 3),
        "average_mAP": round(result.average, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, default=ANNOTATIONS, help="of THUMOS-14, in ActivityNet's layout")
    parser.add_argument("--videos", type=int, help="the first so many; default: all of the test set")
    parser.add_argument("--seed", type=int, default=0, help="of what the network says")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.annotations.is_file():
        sys.exit(f"no file {arguments.annotations}; give --annotations the path of THUMOS-14's annotations")
    row = measure(arguments.annotations, num_videos=arguments.videos, seed=arguments.seed)
    if arguments.json:
        print(json.dumps(row))
        return
    names = list(row)
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    print(f"| {' | '.join(f'{value:,}' for value in row.values())} |")


if __name__ == "__main__":
    main()
