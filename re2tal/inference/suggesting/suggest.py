"""A trained detector and videos -> what to label next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from re2tal.common.atomic import atomic_text
from re2tal.common.labelled import Stretches, without
from re2tal.common.untrusted import shown
from re2tal.data import ClipStream, batches_of
from re2tal.inference.clips import compute_repeatably, made_ahead
from re2tal.inference.folder import identity_of
from re2tal.inference.inputs import InputError, VideoFile
from re2tal.inference.progress import VideoProgress
from re2tal.inference.sharing import tell_of_sharing
from re2tal.inference.suggesting.ranking import Pick, rank_by_uncertainty, rank_by_use, standardised
from re2tal.inference.suggesting.stretches import (
    Unsure,
    cut_stretches,
    describe,
    moment_scores,
    stretch_seconds,
    uncertainty_of,
)
from re2tal.inference.suggesting.traces import VideoTrace, read_trace, trace_clips, write_trace
from re2tal.inference.trained import TrainedDetector
from re2tal.inference.videos import Outcome, for_every_video
from re2tal.training import Processes

__all__ = ["Suggestion", "suggest", "trace_videos", "write_suggestions"]

_ENDING = ".safetensors"
_UNLIKE = 0.5
"""Novelty from which a stretch is called unlike the others."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A stretch of a video that is worth labelling."""

    video: str
    start: float
    """Seconds."""
    end: float
    score: float
    """Expected use of each of its seconds, over that of the first suggestion: 1 and below."""
    why: str


def trace_videos(
    trained: TrainedDetector,
    videos: Sequence[VideoFile],
    *,
    folder: Path,
    processes: Processes,
    console: Console | None = None,
) -> tuple[Outcome, list[VideoTrace]]:
    """Run the detector on videos and keep what it makes of them in `folder`, so that no video is looked at twice.

    Args:
        trained: the detector; its model is moved to the device of `processes`.
        videos: see `find_videos`.
        folder: that all processes should see.
        processes: among which the videos are shared out.
        console: for progress.

    Returns:
        What became of the videos, and the traces of those that could be used; on the main process alone, else none.
    """
    compute_repeatably()
    trained.model.to(processes.device)
    tell_of_sharing(trained.model.backbone, config=trained.config.data)
    fingerprint = trained.fingerprint()

    def kept(video: VideoFile) -> VideoTrace | None:
        return read_trace(_file_of(folder, video), about=identity_of(video, fingerprint=fingerprint))

    def work(video: VideoFile, progress: VideoProgress) -> None:
        stream = ClipStream(video.path, video_id=video.video_id, config=trained.config.data)
        size = max(trained.config.training.batch_size // trained.config.training.accumulate, 1)
        trace = trace_clips(
            trained.model,
            made_ahead(batches_of(stream, size=size)),
            config=trained.config,
            device=processes.device,
            video_labels=trained.video_labels,
            duration_seconds=stream.info.duration_seconds,
            tell=lambda done: progress.clip(video, done, len(stream)),
        )
        write_trace(_file_of(folder, video), trace, about=identity_of(video, fingerprint=fingerprint))

    outcome = for_every_video(
        videos, work, is_done=lambda video: kept(video) is not None, processes=processes, console=console
    )
    if not processes.is_main:
        return outcome, []
    traces = [(video, kept(video)) for video in outcome.usable]
    if lost := [video.video_id for video, trace in traces if trace is None]:
        raise InputError(
            f"{len(lost)} videos have no readable result in {folder}, such as {shown(lost[0])}: call this again; if "
            "processes on other machines wrote to a folder of their own, give --out in one that all of them see"
        )
    return outcome, [trace for _, trace in traces if trace is not None]


def _file_of(folder: Path, video: VideoFile) -> Path:
    return folder / f"{video.video_id}{_ENDING}"


def suggest(
    traces: Sequence[VideoTrace],
    *,
    class_names: Sequence[str],
    labelled: Mapping[str, Stretches | None],
    budget_seconds: float,
    seconds: float | None = None,
    by: Literal["use", "uncertainty"] = "use",
) -> list[Suggestion]:
    """Stretches that are worth labelling, best first.

    Args:
        traces: of the videos.
        class_names: of the labels of detections.
        labelled: by video id, what is labelled; None: all of the video. A video that is not there is not labelled.
        budget_seconds: lengths of the suggestions together; one suggestion is always made if anything is left.
        seconds: that a stretch should last; None: as suits the detector's window.
        by: "use": uncertain and unlike each other; "uncertainty": uncertain alone.
    """
    if seconds is None:
        seconds = stretch_seconds(float(np.median([trace.window_seconds for trace in traces] or [0])))
    parts = [_Parts.of(trace, labelled=labelled, num_classes=len(class_names), seconds=seconds) for trace in traces]
    open_ = [(part, number) for part in parts for number in range(len(part.stretches))]
    if not open_:
        return []
    rows = standardised(np.concatenate([part.features for part in parts] + [part.known for part in parts]))
    features, known = rows[: len(open_)], rows[len(open_) :]
    unsure = [part.unsure[number] for part, number in open_]
    stretches = [part.stretches[number] for part, number in open_]
    numbers = {
        "uncertainty": np.array([item.bits for item in unsure]),
        "seconds": np.array([end - start for start, end in stretches]),
    }
    match by:
        case "use":
            picks = rank_by_use(features, known=known, budget_seconds=budget_seconds, **numbers)
        case "uncertainty":
            picks = rank_by_uncertainty(budget_seconds=budget_seconds, **numbers)
    return [
        Suggestion(
            video=open_[pick.index][0].video_id,
            start=stretches[pick.index][0],
            end=stretches[pick.index][1],
            score=round(pick.gain, 4),
            why=_why(unsure[pick.index], pick, class_names=class_names),
        )
        for pick in picks
    ]


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A video cut into what is labelled and what is not."""

    video_id: str
    stretches: list[tuple[float, float]]
    """Not labelled."""
    unsure: list[Unsure]
    features: np.ndarray
    """Of the stretches, one row each."""
    known: np.ndarray
    """Of what is labelled, one row for each piece of it."""

    @staticmethod
    def of(
        trace: VideoTrace, *, labelled: Mapping[str, Stretches | None], num_classes: int, seconds: float
    ) -> "_Parts":
        whole: Stretches = ((0.0, trace.duration_seconds),)
        stated = labelled.get(trace.video_id, ())
        open_ = () if stated is None else without(whole, stated)
        found = {"segments": trace.segments, "scores": trace.scores, "labels": trace.labels}
        moments = moment_scores(**found, num_classes=num_classes, duration=trace.duration_seconds)
        busy = moments.max(1, initial=0.0)  # there may be no class at all
        stretches = cut_stretches(open_, seconds=seconds, busy=busy)
        known = cut_stretches(without(whole, open_), seconds=seconds, busy=busy)

        def described(pieces: list[tuple[float, float]]) -> np.ndarray:
            return describe(pieces, features=trace.features, cell_seconds=trace.cell_seconds)

        return _Parts(
            video_id=trace.video_id,
            stretches=stretches,
            unsure=[uncertainty_of(stretch, moments=moments, **found) for stretch in stretches],
            features=described(stretches),
            known=described(known),
        )


def _why(unsure: Unsure, pick: Pick, *, class_names: Sequence[str]) -> str:
    if unsure.num_unsure:
        mostly = "" if unsure.label is None else f", mostly {class_names[unsure.label]}"
        said = f"{unsure.num_unsure} unsure detection{'s' if unsure.num_unsure > 1 else ''}{mostly}"
    elif unsure.num_found:
        said = f"{unsure.num_found} sure detection{'s' if unsure.num_found > 1 else ''}"
    else:
        said = "next to nothing found"
    return f"{said}; unlike what is labelled or listed above" if pick.novelty >= _UNLIKE else said


def write_suggestions(path: Path, suggestions: Sequence[Suggestion]) -> None:
    """As JSON: `suggestions`, best first, and `videos`, those with the most to label first."""
    totals: dict[str, dict[str, Any]] = {}
    for item in suggestions:
        total = totals.setdefault(item.video, {"video": item.video, "seconds": 0.0, "score": 0.0})
        total["seconds"] = round(total["seconds"] + item.end - item.start, 3)
        total["score"] = round(total["score"] + item.score * (item.end - item.start), 3)
    videos = sorted(totals.values(), key=lambda total: -total["score"])
    with atomic_text(path) as file:
        json.dump({"suggestions": [asdict(item) for item in suggestions], "videos": videos}, file, indent=1)
        file.write("\n")
