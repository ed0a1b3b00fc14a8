"""BENTO and MARS, for mice (.annot).

Layout (github.com/neuroethology, saveAnnot.m): lines "Movie file(s):", "Annotation start frame:" and "stop frame:", or
"start time:" and "stop time:", "Annotation framerate:"; the channels and the labels; then for each channel its name and
ten hyphens, and for each label ">name", a line of headings and rows of start, stop and duration. Rows are frames that
count from 1, the last one inside, or the same divided by the rate: the first frame begins at 1 / rate.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError, named_like
from re2tal.labels.times import Time, number_of

__all__ = ["is_bento", "read_bento"]

_START = "bento annotation file"
_MOVIE = re.compile(r".+?\.\w{2,4}(?=\s|$)")
_CHANNEL = re.compile(r"(?P<name>.+?)-{5,}\s*")
_ROW = re.compile(r"\s*(?P<start>-?[0-9.eE+-]+)[\s,]+(?P<stop>-?[0-9.eE+-]+)(?:[\s,]+\S+)?\s*")


@dataclass(frozen=True)
class _Bout:
    where: str
    channel: str
    label: str
    start: float
    stop: float


def is_bento(text: str) -> bool:
    """Whether a text is a file of BENTO."""
    return text.lstrip("\ufeff \r\n").lower().startswith(_START)


def read_bento(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are those of all channels; fields are label and channel."""
    reading = Reading(path=file.path, format="bento")
    parted = (line.partition(":") for line in file.lines)
    about = {name.strip().lower(): value.strip() for name, sign, value in parted if sign}
    rate = number_of(about.get("annotation framerate", ""))
    if rate is None or rate <= 0:
        raise SourceError(f'{file.path} tells no frame rate; it needs a line such as "Annotation framerate: 30.000000"')
    bouts = list(_bouts(file.lines, reading=reading))
    stop_frame, stop_time = (number_of(about.get(f"annotation stop {name}", "")) for name in ("frame", "time"))
    begin = number_of(about.get("annotation start time", "")) if stop_frame is None else 1 / rate
    in_frames = stop_frame is not None and all(bout.start % 1 == 0 == bout.stop % 1 for bout in bouts)
    unit, first = (rate, 1.0) if in_frames else (1.0, 1 / rate if begin else 0.0)
    movie = _MOVIE.match(about.get("movie file(s)", ""))
    media = (*((Media(name=movie[0]),) if movie else ()), *named_like(file.path))
    end = stop_frame / rate if stop_frame is not None else stop_time
    stretches = None if end is None else ((Time(), Time(seconds=end)),)
    reading.covered.append(Coverage(media=media, stretches=stretches))
    for bout in bouts:
        times = (bout.start - first) / unit, bout.stop / unit
        reading.add(bout.where, media, times, {"label": bout.label, "channel": bout.channel})
    return reading


def _bouts(lines: Iterable[str], *, reading: Reading) -> Iterator[_Bout]:
    channel = label = ""
    for number, line in enumerate(lines, start=1):
        if line.startswith(">"):
            label = line[1:].strip()
        elif found := _CHANNEL.fullmatch(line):
            channel, label = found["name"].strip(), ""
        elif label and (found := _ROW.fullmatch(line)):
            where = f"{reading.path}, line {number}"
            start, stop = number_of(found["start"]), number_of(found["stop"])
            if start is None or stop is None:
                reading.drop("unparsable time", where, f"start and stop must be numbers, got {line[:60]!r}")
            else:
                yield _Bout(where, channel, label, start, stop)
