"""Boxes of persons in key frames: AVA's CSV, and that of data sets in its layout such as MultiSports.

Layout (research.google.com/ava/download.html): no header; video_id, middle_frame_timestamp, x1, y1, x2, y2, action_id,
person_id. Key frames of AVA are a second apart, from 902 to 1798, and a row says that a person does something around
one. Where the second column is a frame (MultiSports, with videos called `<sport>/v_<id>`), rows are of every frame.
"""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from re2tal.labels.formats.runs import Runs
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, Record, SourceError
from re2tal.labels.subsets import subset_in_name
from re2tal.labels.tables import Table, TableRow
from re2tal.labels.times import Time, TimeError, Unit, parse_time

__all__ = ["is_ava", "read_ava"]

_COLUMNS = 8
_MOST_APART: Mapping[Unit, float] = {"seconds": 1.0, "milliseconds": 1000.0, "frames": math.inf}
"""What a key frame stands for at most; of frames, whose rate is not known here, what all videos of a file tell."""
_MULTISPORTS = re.compile(r"(?:.*/)?(?:aerobic_gymnastics|basketball|football|volleyball)/v_.+")


def is_ava(head: Table) -> bool:
    """Whether every row has a video, a time, a box, an action and a person."""
    return bool(head.rows) and all(_is_row(row) for row in head.rows)


def _is_row(row: TableRow) -> bool:
    cells = [cell.strip() for cell in row.cells]
    if len(cells) != _COLUMNS or not cells[0] or _number(cells[0]) is not None:
        return False
    times_and_box = [_number(cell) for cell in cells[1:6]]
    return None not in times_and_box and all(cell.isascii() and cell.isdecimal() for cell in cells[6:])


def _number(text: str) -> float | None:
    try:
        return parse_time(text).seconds
    except TimeError:
        return None


def read_ava(path: Path, table: Table, *, options: ReadOptions) -> Reading:
    """Labels are the names of `options.class_names`, or `class 12`; somebody does it, whoever and how many."""
    if not any(map(_is_row, table.rows)):
        raise SourceError(
            f"{path} is no table of AVA: no row has {_COLUMNS} columns, video, time, box, action and person"
        )
    reading = Reading(path=path, format="ava")
    subset = subset_in_name(path.stem)
    videos: dict[str, dict[float, dict[str, int]]] = {}
    for row in table.rows:
        where = f"{path}, line {row.line}"
        if not _is_row(row):
            reading.drop("incomplete entry", where, f"expected {_COLUMNS} columns, video, time, box, action and person")
            continue
        moment = _number(row.cells[1].strip())
        assert moment is not None
        action = row.cells[6].strip()
        videos.setdefault(row.cells[0].strip(), {}).setdefault(moment, {}).setdefault(action, row.line)
    gaps = [two - one for moments in videos.values() for one, two in pairwise(sorted(moments))]
    for video, moments in videos.items():
        unit: Unit = options.unit or ("frames" if _MULTISPORTS.fullmatch(video) else "seconds")
        step = min([_MOST_APART[unit], *(gaps or [1.0])])
        _add(video, moments, unit=unit, step=step, subset=subset, options=options, reading=reading)
    if not options.class_names:
        reading.notes.append(f"{path} numbers its classes; give their names with --classes")
    return reading


def _add(
    video: str,
    moments: Mapping[float, Mapping[str, int]],
    *,
    unit: Unit,
    step: float,
    subset: str | None,
    options: ReadOptions,
    reading: Reading,
) -> None:
    """Key frames a step apart make a segment; each stands for the time half-way to the next."""
    times = sorted(moments)
    before = 0.0 if unit == "frames" else step / 2
    runs = Runs()
    for moment in times:
        start, end = moment - before, moment - before + step
        for action, line in moments[moment].items():
            runs.add((action,), start=start, end=end, where=line)

    def time(value: float) -> Time:
        if unit == "milliseconds":
            return Time(seconds=value / 1000)
        return Time(frames=value) if unit == "frames" else Time(seconds=value)

    media = (Media(name=video),)
    # AVA looks at a quarter of an hour of a film, whose key frames without anybody have no row.
    stretches = ((time(times[0] - before), time(times[-1] - before + step)),)
    reading.covered.append(Coverage(media=media, stretches=stretches, subset=subset))
    for run in runs:
        label = options.class_names.get(int(run.label), f"class {run.label}") if len(run.label) < 10 else run.label
        reading.records.append(
            Record(
                where=f"{reading.path}, line {run.where}",
                media=media,
                start=time(run.start),
                end=time(run.end),
                fields={"label": label, "class": run.label},
                subset=subset,
            )
        )
