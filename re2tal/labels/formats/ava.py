"""Boxes of persons in key frames: AVA's CSV, and that of data sets in its layout such as MultiSports.

Layout (research.google.com/ava/download.html): no header; video_id, middle_frame_timestamp, x1, y1, x2, y2, action_id,
person_id. Key frames of AVA are a second apart, from 902 to 1798, and a row says that a person does something around
one. Where the second column is a frame (MultiSports, with videos called `<sport>/v_<id>`), rows are of every frame.
"""

import math
import re
from collections.abc import Mapping
from itertools import pairwise

from re2tal.labels.formats.runs import Runs
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError
from re2tal.labels.subsets import subset_in_name
from re2tal.labels.tables import Table, TableRow
from re2tal.labels.times import Unit, number_of, time_of

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
    if len(cells) != _COLUMNS or not cells[0] or number_of(cells[0]) is not None:
        return False
    times_and_box = [number_of(cell) for cell in cells[1:6]]
    return None not in times_and_box and all(cell.isascii() and cell.isdecimal() for cell in cells[6:])


def read_ava(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the names of `options.class_names`, or `class 12`; somebody does it, whoever and how many."""
    reading = Reading(path=file.path, format="ava")
    videos: dict[str, dict[float, dict[str, int]]] = {}
    expected = f"{_COLUMNS} columns, video, time, box, action and person"
    for row in file.table.rows:
        if not _is_row(row):
            reading.drop("incomplete entry", f"{file.path}, line {row.line}", f"expected {expected}")
            continue
        video, action = row.cells[0].strip(), row.cells[6].strip()
        moment = number_of(row.cells[1])
        assert moment is not None
        videos.setdefault(video, {}).setdefault(moment, {}).setdefault(action, row.line)
    if not videos:
        raise SourceError(f"{file.path} is no table of AVA: no row has {expected}")
    gaps = [two - one for moments in videos.values() for one, two in pairwise(sorted(moments))]
    for video, moments in videos.items():
        unit: Unit = options.unit or ("frames" if _MULTISPORTS.fullmatch(video) else "seconds")
        step = min([_MOST_APART[unit], *(gaps or [1.0])])
        _add(video, moments, unit=unit, step=step, options=options, reading=reading)
    if not options.class_names:
        reading.notes.append(f"{file.path} numbers its classes; give their names with --classes")
    return reading


def _add(
    video: str,
    moments: Mapping[float, Mapping[str, int]],
    *,
    unit: Unit,
    step: float,
    options: ReadOptions,
    reading: Reading,
) -> None:
    """Key frames a step apart make a segment; each stands for the time half-way to the next."""
    before = 0.0 if unit == "frames" else step / 2
    runs = Runs()
    for moment in sorted(moments):
        for action, line in moments[moment].items():
            runs.add((action,), start=moment - before, end=moment - before + step, where=line)

    def fields(action: str) -> Mapping[str, str]:
        named = options.class_names.get(int(action), f"class {action}") if len(action) < 10 else action
        return {"label": named, "class": action}

    media, subset = (Media(name=video),), subset_in_name(reading.path.stem)
    # AVA looks at a quarter of an hour of a film, whose key frames without anybody have no row.
    ends = min(moments) - before, max(moments) - before + step
    stretch = time_of(ends[0], unit=unit), time_of(ends[1], unit=unit)
    reading.covered.append(Coverage(media=media, stretches=(stretch,), subset=subset))
    runs.add_to(reading, media, unit=unit, fields=fields, subset=subset)
