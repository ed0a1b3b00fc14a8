"""From the sources to the page: everything read, measured, and handed to the template."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.common.untrusted import some
from re2tal.evaluation import Predictions
from re2tal.report import sections
from re2tal.report.diagnosing import diagnosis_charts
from re2tal.report.errors import ReportError
from re2tal.report.media import MAX_EMBEDDED_BYTES, FoundVideos, data_of, find_videos, link_to
from re2tal.report.page import render, write_text
from re2tal.report.quality import Quality, choose_start, measure, score_steps
from re2tal.report.sources import Excerpt, Sources, Truth, are_points, read_found, read_truth
from re2tal.report.training import Curve, RunRecords, read_records, training_curves
from re2tal.report.videos import VideoTable, best_scores, table_videos

__all__ = ["WrittenReport", "write_report"]

_USUAL_TIOU = 0.5
"""The threshold that the page starts with, if it is among the chosen ones."""


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """What a page holds."""

    path: Path
    num_bytes: int
    num_videos: int
    num_files: int
    """Videos whose file was found."""
    metrics: Mapping[str, float]
    """Empty without ground truth."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """One object for programs."""
        counts = {"bytes": self.num_bytes, "num_videos": self.num_videos, "num_video_files": self.num_files}
        return {"out": str(self.path), **counts, **self.metrics, "notes": list(self.notes)}


def write_report(
    sources: Sources, *, out: Path, embed: bool = False, max_detections: int | None = None
) -> WrittenReport:
    """Write the page of a run or of a file of detections.

    Args:
        sources: what there is.
        out: the HTML file; an old one stays until the new one is whole.
        embed: put the video files into the page instead of linking them.
        max_detections: of one video that the page shows, the best ones; the metric counts all. None: see
            `table_videos`.
    """
    material = _read(sources, max_detections=max_detections)
    media = material.media
    if embed and media is not None:
        _require_embeddable(media)
    text = render(_context(sources, material, embed=embed), payload=_payload(material, out=out, embed=embed))
    return WrittenReport(
        path=out,
        num_bytes=write_text(out, text),
        num_videos=len(material.table.videos),
        num_files=0 if media is None else len(media.files),
        metrics={} if material.quality is None else material.quality.result.metrics,
        notes=material.notes,
    )


@dataclass(frozen=True, kw_only=True)
class _Material:
    """All that was read and measured."""

    found: Predictions | None
    truth: Truth | None
    records: RunRecords
    curves: tuple[Curve, ...]
    steps: np.ndarray
    quality: Quality | None
    table: VideoTable
    media: FoundVideos | None
    tiou_row: int
    start: int
    """Place of the slider among `steps`."""
    notes: tuple[str, ...]


def _read(sources: Sources, *, max_detections: int | None) -> _Material:
    excerpt = sources.excerpt
    read_from = sources.detections if excerpt is None else excerpt.path
    found = None if read_from is None else read_found(read_from)
    truth = None if sources.truth is None else read_truth(sources.truth, ids=found.video_ids if found else ())
    records = RunRecords() if sources.metrics is None else read_records(sources.metrics)
    steps = score_steps(np.zeros(0) if found is None else found.scores)
    quality = None
    if found is not None and truth is not None:
        _require_common(sources, found, truth)
        if not (are_points(truth.actions.segments) or are_points(found.segments)):
            quality = measure(truth.actions, found, tious=sources.tious, steps=steps)
    table = table_videos(found=found, truth=truth, quality=quality, max_detections=max_detections)
    media = None
    if sources.videos is not None:
        ids = [video["id"] for video in table.videos]
        videos = sources.videos
        media = find_videos(ids, folder=videos.path, path_of=videos.path_of, known=videos.known)
    row = sources.tious.index(_USUAL_TIOU) if _USUAL_TIOU in sources.tious else len(sources.tious) // 2
    best = np.zeros(0) if found is None else best_scores(found)
    return _Material(
        found=found,
        truth=truth,
        records=records,
        curves=training_curves(records),
        steps=steps,
        quality=quality,
        table=table,
        media=media,
        tiou_row=row,
        start=choose_start(best, steps, quality=quality, row=row),
        notes=(
            *sources.notes,
            *_remarks_on_points(found=found, truth=truth),
            *_remarks(records=records, found=found, truth=truth, table=table, media=media, excerpt=excerpt),
        ),
    )


def _require_common(sources: Sources, found: Predictions, truth: Truth) -> None:
    assert sources.truth is not None
    ours, theirs = found.video_ids, truth.actions.video_ids
    if ours and theirs and not set(ours) & set(theirs):
        raise ReportError(
            f"no video of {sources.detections} is in {sources.truth.path} (subset {some(truth.subset)}): the "
            f"detections have {ours[0]!r}, for example, the ground truth {theirs[0]!r}; use the same ids, or another "
            "--subset"
        )


def _remarks_on_points(*, found: Predictions | None, truth: Truth | None) -> list[str]:
    if found is None or truth is None:
        return []
    sides = {"detections": found.segments, "annotations": truth.actions.segments}
    points = [what for what, segments in sides.items() if are_points(segments)]
    told = (
        f"The {' and '.join(points)} are point events, which `re2tal evaluate --points` measures; tIoU does not apply."
    )
    return [told] if points else []


def _remarks(
    *,
    records: RunRecords,
    found: Predictions | None,
    truth: Truth | None,
    table: VideoTable,
    media: FoundVideos | None,
    excerpt: Excerpt | None,
) -> list[str]:
    remarks = []
    if excerpt is not None and found is not None and excerpt.num_detections > len(found.scores):
        remarks.append(
            f"The page has {len(found.scores):,} of {excerpt.num_detections:,} detections, the best ones of each video."
        )
    if records.num_broken:
        remarks.append(f"{records.num_broken} lines of metrics.jsonl cannot be read and are left out.")
    if truth is not None and (problems := truth.actions.problems):
        remarks.append(f"{len(problems)} annotations are left out, for example: {problems[0]}.")
    if found is not None and truth is not None:
        # Not an error: the few videos of a small test set may have none of what was found.
        ours, theirs = found.class_names, truth.actions.class_names
        if ours and not set(ours) & set(theirs):
            remarks.append(
                f"No label of the detections is in the ground truth, so that none counts: the detections have "
                f"{ours[0]!r}, for example, the ground truth {theirs[0]!r}."
            )
    if truth is not None and (partly := truth.actions.labelled):
        remarks.append(
            f"Labelled in part: {len(partly)} of {len(truth.actions.video_ids)} videos. Detections of which more than "
            "half lies where nobody has looked have a dotted edge and count neither way."
        )
    if table.most_shown is not None:
        remarks.append(
            f"Of each video the {table.most_shown} best detections are shown; every figure counts all of them."
        )
    if media is not None and (absent := len(table.videos) - len(media.files)):
        remarks.append(f"{absent} of {len(table.videos)} videos have no file; looked for {media.looked_for}.")
    if media is not None and media.passed_over:
        remarks.append(f"{media.passed_over[0].upper()}{media.passed_over[1:]}.")
    return remarks


def _context(sources: Sources, material: _Material, *, embed: bool) -> dict[str, Any]:
    """What the template shows."""
    table, quality, media = material.table, material.quality, material.media
    return {
        "title": sources.title,
        "notes": material.notes,
        "facts": sections.facts(sources, found=material.found, truth=material.truth, table=table),
        "tiles": sections.tiles(quality, found=material.found, excerpt=sources.excerpt, table=table),
        "charts": [sections.training_chart(curve) for curve in material.curves],
        "quality": None if quality is None else sections.quality_tables(quality, class_names=table.class_names),
        "diagnosis": None if quality is None else diagnosis_charts(quality.diagnosis),
        "settings": sections.settings_text(sources.settings),
        "classes": table.class_names,
        "tious": () if quality is None else quality.result.tious,
        "tiou_row": material.tiou_row,
        "num_videos": len(table.videos),
        "partly_labelled": material.truth is not None and bool(material.truth.actions.labelled),
        "last_step": len(material.steps) - 1,
        "start": material.start,
        "has_files": media is not None and bool(media.files),
        "looked_for": None if media is None else media.looked_for,
        "embedded": [
            {"id": f"file-{place}", "data": data, "kind": kind}
            for place, path in _embedded(table, media, embed=embed).items()
            for data, kind in [data_of(path)]
        ],
    }


def _payload(material: _Material, *, out: Path, embed: bool) -> dict[str, Any]:
    """What the scripts work on."""
    table, media = material.table, material.media
    embedded = _embedded(table, media, embed=embed)
    videos = []
    for place, video in enumerate(table.videos):
        path = None if media is None else media.files.get(video["id"])
        if place in embedded:
            video = {**video, "embedded": f"file-{place}"}
        elif path is not None:
            video = {**video, "file": link_to(path, page=out)}
        videos.append(video)
    return {
        "classes": table.class_names,
        "tious": () if material.quality is None else material.quality.result.tious,
        "tiou": material.tiou_row,
        "steps": material.steps.tolist(),
        "start": material.start,
        "counts": sections.counts(material.quality),
        "precision": sections.precision(material.quality, class_names=table.class_names),
        "charts": {curve.key: sections.chart_values(curve) for curve in material.curves},
        "lookedFor": None if media is None else media.looked_for,
        "videos": videos,
    }


def _embedded(table: VideoTable, media: FoundVideos | None, *, embed: bool) -> dict[int, Path]:
    """The files that go into the page, by their video's place."""
    if not embed or media is None:
        return {}
    places = {video["id"]: place for place, video in enumerate(table.videos)}
    return {places[video_id]: path for video_id, path in media.files.items()}


def _require_embeddable(media: FoundVideos) -> None:
    size = sum(path.stat().st_size for path in media.files.values())
    if size > MAX_EMBEDDED_BYTES:
        raise ReportError(
            f"--embed would put {size / 1e6:.0f} MB of video into the page, and browsers refuse more than about "
            f"{MAX_EMBEDDED_BYTES / 1e6:.0f} MB; leave --embed out to link the files"
        )
