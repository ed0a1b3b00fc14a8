"""Tables with a row for each frame, or for each moment of a regular clock.

Layouts:

* One column of 0 and 1 for each class: DeepEthogram's `<video>_labels.csv` (github.com/jbohnslav/deepethogram: an index
  without a name, `background`, the classes; -1 where nobody has looked), SimBA's `targets_inserted/<video>.csv`
  (github.com/sgoldenlab/simba: an index, hundreds of features, the classes last), BORIS' behavior binary table
  (behavior_binary_table.py: `time` in seconds, the behaviours; points are counted).
* One column with the name of the class: a frame number or a time, and a label.

A row holds until the next one begins. Without a column of times or frame numbers, rows are the frames of the video.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from re2tal.common.untrusted import shown, some
from re2tal.labels.columns import find_columns
from re2tal.labels.formats.runs import Runs
from re2tal.labels.formats.source_file import HEAD_ROWS, SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError, named_like
from re2tal.labels.tables import Table, TableRow
from re2tal.labels.times import Unit, number_of, time_of

__all__ = ["FrameColumns", "frame_columns", "is_per_frame", "read_frame_rows", "read_per_frame"]

_STATES: dict[str, bool | None] = {
    **dict.fromkeys(("1", "1.0", "true"), True),
    **dict.fromkeys(("0", "0.0", "false"), False),
    **dict.fromkeys(("", "-1", "-1.0", "nan", "na", "-"), None),
}
"""What cells mean; None: nobody has looked."""
_BACKGROUND = frozenset({"background", "none", "nothing", "no behavior", "no behaviour", "no label", "unlabeled"})
_FRAMES = frozenset({
    "", "frame", "frames", "frame number", "frame no", "frame nr", "frame id", "frame idx", "frame index", "index",
    "idx", "unnamed 0", "image index", "bild", "bildnummer", "image", "fotogramma", "fotograma", "beeld",
})  # fmt: skip
_CLOCKS = frozenset({
    "time", "times", "time s", "time sec", "time seconds", "seconds", "sec", "s", "t", "timestamp", "timestamps",
    "time stamp", "trial time", "recording time", "timestamp s", "timestamp seconds", "zeit", "zeit s", "temps",
    "temps s", "tiempo", "tiempo s", "tempo", "tempo s", "tijd", "tijd s",
})  # fmt: skip
_MILLISECONDS = frozenset({
    "time ms", "time msec", "time milliseconds", "ms", "milliseconds", "timestamp ms", "timestamps ms", "t ms",
})  # fmt: skip
_FEATURES = ("low_prob_detections_", "probability_", "result ")
"""Columns of 0 and 1 that are no labels: features of SimBA, the sum of EthoVision's selection."""
_LABELS = frozenset({"label", "labels", "class", "action", "activity", "behavior", "behaviour", "behaviors", "state"})
_EVEN = 0.25
"""Share of a step that rows of a regular clock may be off."""
_FEW_NAMES = 12
"""Rows of names of classes that a table must have, or of a column that is alone: fewer may be anything by chance."""

_MEASURED_ROWS = 20
"""Rows of which columns of measured numbers are looked at; a table may have hundreds of such columns."""


@dataclass(frozen=True, kw_only=True)
class FrameColumns:
    """Which columns of a table of frames are what."""

    clock: int | None
    """The time or the frame number; None: rows are frames."""
    unit: Unit
    """That `clock` counts."""
    states: Mapping[int, str]
    """Names of the columns of 0 and 1."""
    named: int | None = None
    """The column that names the class."""
    video: int | None = None
    step: float = 1.0
    """From row to row."""
    first: float = 0.0
    """What the first row counts: 1 where frames are counted from 1."""
    counts: bool = False
    """Whether larger numbers are points that were counted, as BORIS does."""
    others: str = ""
    """What is said of the columns of other numbers, which are no classes; empty where there are none."""


def is_per_frame(head: Table) -> bool:
    """Whether the first rows of a table are those of frames."""
    return frame_columns(head) is not None


def frame_columns(head: Table) -> FrameColumns | None:
    """Which columns are what; None if this is no table of frames."""
    if len(head.rows) < 3 or (len(head.rows[0].cells) < 2 and len(head.rows) <= _FEW_NAMES):
        return None
    header = [cell.strip() for cell in head.rows[0].cells]
    rows = [row.cells for row in head.rows[1:]]
    known = find_columns(header, named={}).of
    if "start" in known and {"end", "duration"} & known.keys() or any(name and _is_number(name) for name in header):
        return None
    video = known.get("video")
    if video is not None and (header[video].lower() in _FRAMES or all(_is_number(_cell(row, video)) for row in rows)):
        video = None
    clock, unit, step, first = _clock_of(header, rows, video=video)
    counts = clock == 0 and header[0] == "time"
    states = {
        number: name
        for number, name in enumerate(header)
        if name
        and number not in (clock, video)
        and not name.lower().startswith(_FEATURES)
        and all(_is_state(_cell(row, number), counts=counts) for row in rows)
    }
    rest = [number for number in range(len(header)) if number not in states and number not in (clock, video)]
    named = next((number for number in rest if _plain(header[number]) in _LABELS), None)
    if clock is not None and named is not None and not states and (len(rows) >= _FEW_NAMES or unit == "frames"):
        return FrameColumns(clock=clock, unit=unit, states={}, named=named, video=video, step=step, first=first)
    if not any(_STATES.get(_cell(row, number).lower(), True) is not None for row in rows for number in states):
        return None
    # Anything but labels, a clock and measured numbers belongs to a table of another kind.
    if not all(_is_number(_cell(row, number)) for number in rest for row in rows[:_MEASURED_ROWS]):
        return None
    if rest and clock is None:
        return None
    others = _told_others(header, head.rows[1:], rest=rest, counts=counts)
    return FrameColumns(
        clock=clock, unit=unit, states=states, video=video, step=step, first=first, counts=counts, others=others
    )


def _told_others(header: Sequence[str], rows: Sequence[TableRow], *, rest: Sequence[int], counts: bool) -> str:
    """The number of columns that are no classes, and the cell for which the most likely one is none."""
    odd = {
        number: [row for row in rows if not _is_state(_cell(row.cells, number), counts=counts)]
        for number in rest
        if header[number] and not header[number].lower().startswith(_FEATURES)
    }
    if not odd:
        return ""
    likely = min(odd, key=lambda number: (len(odd[number]), number))
    row = odd[likely][0]
    cell = shown(_cell(row.cells, likely))
    return (
        f"{len(odd)} columns of other values are no classes, such as {header[likely]!r} with {cell} in line {row.line}"
    )


def _clock_of(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, video: int | None
) -> tuple[int | None, Unit, float, float]:
    """The column that counts evenly, what it counts, its step and where it begins."""
    for names in (_CLOCKS, _MILLISECONDS, _FRAMES):
        for number, name in enumerate(header):
            if number == video or _plain(name) not in names:
                continue
            values = [number_of(_cell(row, number)) for row in rows]
            pairs = [
                (one, two)
                for one, two, row, after in zip(values, values[1:], rows, rows[1:], strict=False)
                if video is None or _cell(row, video) == _cell(after, video)
            ]
            steps = sorted(two - one for one, two in pairs if one is not None and two is not None)
            if len(steps) < len(pairs) or not steps:
                continue
            step = steps[len(steps) // 2]
            rounding = 1.0 if names is _MILLISECONDS else 1e-3
            if step <= 0 or steps[0] < step * (1 - _EVEN) - rounding:
                continue
            first = values[0] or 0.0
            if names is not _FRAMES:
                return number, "seconds" if names is _CLOCKS else "milliseconds", step, 0.0
            if step == round(step):
                return number, "frames", step, 1.0 if first == 1 and step == 1 else 0.0
    return None, "frames", 1.0, 0.0


def _plain(name: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


def _cell(row: Sequence[str], number: int) -> str:
    return row[number].strip() if number < len(row) else ""


def _is_number(text: str) -> bool:
    if number_of(text) is not None or text.lower() in _STATES:
        return True
    try:
        float(text)  # such as nan, and 1e-300
    except ValueError:
        return False
    return True


def _is_state(text: str, *, counts: bool) -> bool:
    return text.lower() in _STATES or (counts and text.isdecimal() and len(text) < 6)


def read_per_frame(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the names of the columns of 0 and 1 but for `background`, or what the column of labels says."""
    reading = Reading(path=file.path, format="per-frame")
    rows = file.rows()
    head = tuple(islice(rows, HEAD_ROWS))
    columns = frame_columns(Table(rows=head))
    if columns is None:
        raise SourceError(
            f"{file.path} is no table of frames, which has a header, a row for each frame, and columns of 0 and 1 or "
            "one that names the class"
        )
    media = named_like(file.path)
    if columns.counts:  # BORIS adds the name of the subject
        parts = file.path.stem.split("_")
        media += tuple(Media(name="_".join(parts[:number])) for number in range(len(parts) - 1, 0, -1))
    read_frame_rows(chain(head[1:], rows), columns=columns, media=media, reading=reading)
    return reading


def read_frame_rows(
    rows: Iterable[TableRow], *, columns: FrameColumns, media: tuple[Media, ...], reading: Reading
) -> None:
    """Join rows to segments and note which part of the video they cover.

    Args:
        rows: after the header.
        columns: see there.
        media: names of the video, where the table has no column for it.
        reading: takes the segments.

    Raises:
        SourceError: rows go back in time, or a column has no number where it should.
    """
    videos: dict[str, _FrameVideo] = {}
    states = dict(columns.states)
    for row, (start, end), name in _timed(rows, columns=columns, path=reading.path):
        video = videos.setdefault(name, _FrameVideo())
        if columns.named is not None:
            label = _cell(row.cells, columns.named)
            on, looked = [label] if label and _plain(label) not in _BACKGROUND else [], bool(label)
        else:
            on, looked = _on(row, states, counts=columns.counts, videos=videos.values())
        if looked:
            video.looked.add(("",), start=start, end=end, where=row.line)
            video.labels.add(on, start=start, end=end, where=row.line)
    if columns.states and not states:
        raise SourceError(f"{reading.path} has no column of 0 and 1 only, from the first row to the last")
    _tell_columns(columns.states, states, others=columns.others, reading=reading)
    for name, video in videos.items():
        _add(video, media=(Media(name=name),) if name else media, unit=columns.unit, reading=reading)


@dataclass(kw_only=True)
class _FrameVideo:
    looked: Runs = field(default_factory=Runs)
    labels: Runs = field(default_factory=Runs)


def _on(
    row: TableRow, states: dict[int, str], *, counts: bool, videos: Iterable[_FrameVideo]
) -> tuple[list[str], bool]:
    """Classes that are on, and whether the row tells anything; a column of other values turns out to be no class."""
    on, looked = [], False
    for number, name in list(states.items()):
        text = _cell(row.cells, number)
        if not _is_state(text, counts=counts):
            del states[number]
            for video in videos:
                video.labels.forget(name)
        elif (state := _STATES.get(text.lower(), True)) is not None:
            looked = True
            if state and _plain(name) not in _BACKGROUND:
                on.append(name)
    return on, looked


def _timed(
    rows: Iterable[TableRow], *, columns: FrameColumns, path: Path
) -> Iterator[tuple[TableRow, tuple[float, float], str]]:
    """Each row with its start and end, in seconds or frames, and the name of its video.

    A row ends where the next one begins, or a step later if that comes late.
    """
    last: tuple[TableRow, float, str] | None = None
    for count, row in enumerate(rows):
        name = "" if columns.video is None else _cell(row.cells, columns.video)
        at = float(count) if columns.clock is None else number_of(_cell(row.cells, columns.clock))
        if at is None:
            raise SourceError(
                f"{path}, line {row.line} has no time or frame number: {_cell(row.cells, columns.clock or 0)!r:.60}"
            )
        at -= columns.first
        if last is not None:
            before, start, video = last
            if video == name and at <= start:
                raise SourceError(
                    f"{path}, line {row.line} goes back in time, from {start:g} to {at:g}; sort the rows, and keep a "
                    "table for each video"
                )
            is_next = video == name and at <= start + columns.step * (1 + 2 * _EVEN)
            yield before, (start, at if is_next else start + columns.step), video
        last = row, at, name
    if last is not None:
        yield last[0], (last[1], last[1] + columns.step), last[2]


def _tell_columns(wanted: Mapping[int, str], states: Mapping[int, str], *, others: str, reading: Reading) -> None:
    if wanted:
        names = [repr(name) for name in states.values() if _plain(name) not in _BACKGROUND]
        lost = [repr(name) for number, name in wanted.items() if number not in states]
        told = f"; {len(lost)} columns hold other numbers further down and are none, such as {lost[0]}" if lost else ""
        reading.notes.append(
            f"{reading.path} has a row for each frame; its classes are {some(names)} (--only label=NAME takes one "
            f"alone){told}{f'; {others}' if others else ''}"
        )


def _add(video: _FrameVideo, *, media: tuple[Media, ...], unit: Unit, reading: Reading) -> None:
    stretches = tuple((time_of(run.start, unit=unit), time_of(run.end, unit=unit)) for run in video.looked)
    reading.covered.append(Coverage(media=media, stretches=stretches))
    video.labels.add_to(reading, media, unit=unit)
