"""A trained detector and videos -> what happens in them, when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from re2tal.common.types import Detections
from re2tal.data import AGNOSTIC_CLASS, ClipStream, batches_of
from re2tal.detections import VideoScores, VideoScoresError, rows_of
from re2tal.inference.clips import ClipDetector, compute_repeatably, made_ahead
from re2tal.inference.folder import PredictionFolder
from re2tal.inference.inputs import VideoFile
from re2tal.inference.progress import VideoProgress
from re2tal.inference.sharing import tell_of_sharing
from re2tal.inference.trained import TrainedDetector
from re2tal.inference.videos import Outcome, for_every_video
from re2tal.inference.written import WrittenFiles
from re2tal.training import Processes, log

__all__ = ["Predicted", "detect_in_video", "predict"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a call of `predict` has done."""

    folder: PredictionFolder
    outcome: Outcome
    written: WrittenFiles
    """By the main process; nothing by the others."""


def predict(
    trained: TrainedDetector,
    videos: Sequence[VideoFile],
    *,
    out: Path,
    min_score: float | None = None,
    processes: Processes,
    console: Console | None = None,
) -> Predicted:
    """Detect in videos and write what was found into the folder `out` (see `PredictionFolder`).

    Videos that an earlier call with the same detector has done are not done again; those that cannot be used are
    passed over and listed.

    Args:
        trained: the detector; its model is moved to the device of `processes`.
        videos: see `find_videos`.
        out: a folder, which all processes should see.
        min_score: see `PredictionFolder`.
        processes: among which the videos are shared out.
        console: for progress.
    """
    compute_repeatably()
    trained.model.to(processes.device)
    tell_of_sharing(trained.model.backbone, config=trained.config.data)
    folder = PredictionFolder(path=out, fingerprint=trained.fingerprint(), min_score=min_score)
    if trained.video_labels is not None:
        _require_class_scores(trained.video_labels, videos)
    elif trained.config.data.class_agnostic:
        log.info(
            "the detector knows one class and says when something happens, not what: every label is %r; --classifier "
            "FILE gives other labels",
            AGNOSTIC_CLASS,
        )

    def work(video: VideoFile, progress: VideoProgress) -> None:
        stream = ClipStream(video.path, video_id=video.video_id, config=trained.config.data)
        found = detect_in_video(
            stream, trained=trained, device=processes.device, tell=lambda done: progress.clip(video, done, len(stream))
        )
        rows = rows_of(found, class_names=trained.detected_names)
        folder.keep(video, rows, duration_seconds=stream.info.duration_seconds)

    outcome = for_every_video(videos, work, is_done=folder.is_done, processes=processes, console=console)
    written = WrittenFiles()
    if processes.is_main:
        outcome.write_skips(out)
        written = folder.write_all(outcome.usable)
        if written.elsewhere:
            log.warning(
                "%d videos have no readable result in %s, such as %s: call this again; if processes on other machines "
                "wrote to a folder of their own, copy its finished/ here first",
                len(written.elsewhere),
                out,
                written.elsewhere[0],
            )
    return Predicted(folder=folder, outcome=outcome, written=written)


def _require_class_scores(labels: VideoScores, videos: Sequence[VideoFile]) -> None:
    if lacking := labels.lacking(video.video_id for video in videos):
        raise VideoScoresError(
            f"{labels.source} has no class scores of {len(lacking)} of {len(videos)} videos, such as {lacking[0]!r}; "
            f"it has ids like {next(iter(labels.best), None)!r}: add the scores, or leave these videos out"
        )


def detect_in_video(
    stream: ClipStream,
    *,
    trained: TrainedDetector,
    device: torch.device,
    tell: Callable[[int], None] = lambda done: None,
) -> Detections:
    """What is found in one video, as testing finds it.

    Args:
        stream: the video's clips.
        trained: with its model on `device`.
        device: to compute on.
        tell: called after every batch with how many clips are done.

    Raises:
        VideoError: the file turns out to be damaged.
    """
    config = trained.config
    detector = ClipDetector(
        trained.model,
        config=config,
        device=device,
        video_labels=trained.video_labels,
        num_windows={stream.video.video_id: len(stream)} if config.data.test_whole else None,
    )
    size = max(config.training.batch_size // config.training.accumulate, 1)
    found: list[Detections] = []
    done = 0
    for batch in made_ahead(batches_of(stream, size=size)):
        found += detector.in_batch(batch)
        done += len(batch)
        tell(done)
    return detector.in_video(found)
