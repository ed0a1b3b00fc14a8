"""The demo set on disk: H.264 videos and annotations of ActivityNet's layout, like any user's data."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.common.atomic import atomic_text
from re2tal.data.demo.long import LONG_FPS, LONG_SECONDS, write_long_script
from re2tal.data.demo.motion import write_script
from re2tal.data.demo.render import FPS, render
from re2tal.video import write_video

__all__ = ["SECONDS", "make_demo_set"]

SECONDS = (6.4, 30.0)
"""Shortest and longest video."""
SUBSETS = ("training", "validation")


def make_demo_set(
    folder: Path | str,
    *,
    seed: int = 0,
    num_train: int = 240,
    num_test: int = 60,
    num_negatives: int = 0,
    shuffled: bool = False,
    long: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render videos to `folder/videos/<id>.mp4` and their actions to `folder/annotations.json`.

    Args:
        folder: made if it does not exist; files of an earlier set are replaced.
        seed: decides every video; each video has its own random numbers, whatever their count.
        num_train: videos of subset "training".
        num_test: videos of subset "validation".
        num_negatives: videos of subset "training" beside those, which show no action but what resembles one;
            "validation" gets its share of such videos, too.
        shuffled: put the frames of each video in random order; what can still be learned then needs no motion.
        long: make videos of ten minutes at four frames per second, with actions of 1 to 120 s, two classes of which
            only what came minutes before tells apart (see `re2tal.data.demo.long`); there are no negatives of these.
        progress: called with (videos done, videos in all) after each video.
    """
    for name, count in (("num_train", num_train), ("num_test", num_test)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if long and num_negatives:
        raise ValueError(f"there are no long videos without actions, got num_negatives={num_negatives}; set it to 0")
    if num_negatives < 0:
        raise ValueError(f"num_negatives must be at least 0, got {num_negatives}")
    videos = Path(folder) / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    negatives = (num_negatives, ceil(num_negatives * num_test / num_train))
    plan = [
        (subset, number, is_negative)
        for is_negative, counts in ((False, (num_train, num_test)), (True, negatives))
        for subset, count in zip(SUBSETS, counts, strict=True)
        for number in range(count)
    ]
    make = partial(_make_video, videos, seed=seed, shuffled=shuffled, long=long)
    database: dict[str, Any] = {}
    # Threads, not processes: numpy and the encoder leave the interpreter free, and nothing is imported twice.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done, result in enumerate(as_completed([pool.submit(make, *which) for which in plan]), start=1):
                database.update([result.result()])
                if progress is not None:
                    progress(done, len(plan))
        except BaseException:
            # A full disk or Ctrl-C should not wait for all the videos that have not begun.
            pool.shutdown(cancel_futures=True)
            raise
    with atomic_text(Path(folder) / "annotations.json") as file:
        json.dump({"database": dict(sorted(database.items()))}, file, indent=1)


def _make_video(
    folder: Path, subset: str, number: int, is_negative: bool, *, seed: int, shuffled: bool, long: bool
) -> tuple[str, dict[str, Any]]:
    """Write one video; returns its id and its entry in the annotations."""
    rng = np.random.default_rng((seed, SUBSETS.index(subset), number, *((1,) if is_negative else ())))
    if long:
        fps, num_frames, script = LONG_FPS, LONG_SECONDS * LONG_FPS, write_long_script(rng)
    else:
        shortest, longest = np.log(np.array(SECONDS) * FPS)
        fps, num_frames = FPS, round(np.exp(rng.uniform(shortest, longest)))
        script = write_script(rng, is_negative=is_negative)
    frames = render(script, num_frames=num_frames, rng=rng)
    if shuffled:
        frames = rng.permutation(frames)
    video_id = f"{subset}_negative_{number:04d}" if is_negative else f"{subset}_{number:04d}"
    write_video(folder / f"{video_id}.mp4", frames, fps=fps, crf=20, threads=1)
    seconds_per_tick = num_frames / fps / script.ticks
    return video_id, {
        "subset": subset,
        "duration": num_frames / fps,
        "frame": num_frames,
        "annotations": [
            {
                "label": action.label or action.name,
                "segment": [round(tick * seconds_per_tick, 3) for tick in (action.start, action.end)],
            }
            for action in script.actions
        ],
    }
