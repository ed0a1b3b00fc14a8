"""The command that writes labels for other programs, and what `predict --format` shares with it."""

import json as json_format
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Json, app
from re2tal.common.untrusted import visible_lines

if TYPE_CHECKING:
    from re2tal.labels.exporting import ExportError, ExportReport

__all__ = ["export_as_json", "export_beside", "told_of_export"]

SOME_SKIPPED = 3
_MOST_FILES = 3
"""That are told one by one."""


@app.command(name="export")
def export_(
    source: Path,
    /,
    *,
    format: str,
    out: Path,
    videos: Path | None = None,
    min_score: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.3,
    fps: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    point: Literal["start", "middle", "end"] = "middle",
    allow_links: bool = False,
    overwrite: bool = False,
    json: Json = False,
) -> None:
    """Write detections or annotations in the format of another program, to look at them and correct them there.

    Ends with status 0 if every video was written, 3 if some could not be, 1 if nothing was written.

    Parameters
    ----------
    source
        detections.json of re2tal predict or test, or annotations in any layout that re2tal trains on.
    format
        boris, elan, via3, label-studio, audacity, srt, vtt, textgrid, csv or soccernet; or a format of your own,
        path/to/file.py:Name (docs/extending.md).
    out
        A folder; or the file, where one is all there is to write.
    videos
        Folder of the videos, at any depth, to which the files then lead; by default as the annotations tell.
    min_score
        Leave out detections below it; 0 writes all. Annotations are always written.
    fps
        Frame rate of videos whose file is not known, for formats that count frames.
    point
        Which time of an action counts in soccernet, which has points alone.
    allow_links
        Take videos that lie in their folder only by links that lead out of it.
    overwrite
        Replace files that are there with other content.
    """
    from re2tal.labels.exporting import ExportOptions, export_labels
    from re2tal.training import counting

    options = ExportOptions(
        min_score=min_score, videos=videos, fps=fps, point=point, allow_links=allow_links, overwrite=overwrite
    )
    with counting("videos") as tell:
        report = export_labels(source, format_=format, out=out, options=options, tell=tell)
    print(json_format.dumps(report.as_json()) if json else visible_lines(told_of_export(report)))
    sys.exit(SOME_SKIPPED if report.skipped else 0)


def export_beside(
    detections: Path, *, formats: Sequence[str], known: Mapping[str, Path], min_score: float
) -> "dict[str, ExportReport | ExportError]":
    """Export detections into a folder for each format beside them. What somebody has changed there is not replaced.

    Args:
        detections: as JSON.
        formats: see `find_writer`.
        known: files of the videos by id.
        min_score: detections below it are left out.
    """
    from re2tal.labels.exporting import ExportError, ExportOptions, export_labels

    exported: dict[str, ExportReport | ExportError] = {}
    for name in formats:
        out = detections.parent / name.rpartition(":")[2]
        options = ExportOptions(min_score=min_score, known=known)
        try:
            exported[name] = export_labels(detections, format_=name, out=out, options=options, tell=lambda *_: None)
        except ExportError as error:
            exported[name] = error
    return exported


def export_as_json(result: "ExportReport | ExportError") -> dict[str, Any]:
    """What was written, or why nothing was."""
    return {"error": str(result)} if isinstance(result, ValueError) else result.as_json()


def told_of_export(report: "ExportReport | ExportError") -> str:
    """What was written, or why nothing was, for people."""
    if isinstance(report, ValueError):
        return f"nothing was written: {report}"
    lines = [f"wrote {report.num_labels} labels of {report.num_videos} videos"]
    if report.num_below:
        lines[0] += f"; {report.num_below} detections with a score below {report.min_score:g} are left out"
        lines[0] += " (--min-score 0 writes all)"
        if not report.num_labels:
            lines[0] += f"; the best has {report.best_score:.3f}"
    lines += [f"  {file}" for file in report.files[:_MOST_FILES]]
    if len(report.files) > _MOST_FILES:
        lines[-1] += f" and {len(report.files) - _MOST_FILES} more"
    lines += [f"note: {line}" for line in report.notes.lines()]
    lines += [f"skipped {video!r}: {why}" for video, why in list(report.skipped.items())[:_MOST_FILES]]
    if len(report.skipped) > _MOST_FILES:
        lines.append(f"and {len(report.skipped) - _MOST_FILES} more videos are skipped; --json lists them")
    return "\n".join(lines)
