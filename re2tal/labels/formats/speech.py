"""Programs for sound: Praat's TextGrid and Audacity's label tracks.

Layouts:

* TextGrid (fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html): text whose meaning lies in the order of its quoted
  texts, flags and free-standing numbers alone, so that the long and the short form are one: the file's type and class,
  its times, <exists>, the number of tiers; for each tier its class, name, times and number of entries; for each entry
  of an IntervalTier its times and text, of a TextTier its time and mark. A quotation mark inside a text is doubled.
* Label tracks (manual.audacityteam.org/man/importing_and_exporting_labels.html): a line for each label, with start, end
  and text between tabs, in seconds; a point has both alike; a line that begins with a backslash tells frequencies.
"""

import math
import re
from collections.abc import Iterator

from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Reading, ReadOptions, SourceError, named_like

__all__ = ["is_audacity", "is_textgrid", "read_audacity", "read_textgrid"]

_TEXTGRID = re.compile(r'\ufeff?\s*(File type\s*=\s*)?"ooTextFile( short)?"\s*(Object class\s*=\s*)?"TextGrid"')
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?P<skip>\[[^\]"\n]*\])|(?P<flag><\w+>)'
    r"|(?<![\w.])(?P<number>[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![\w.])"
)
_LABEL = re.compile(r"(?P<start>-?[0-9]+(?:\.[0-9]+)?)\t(?P<end>-?[0-9]+(?:\.[0-9]+)?)(?:\t(?P<label>.*))?")
_FREQUENCIES = "\\"
_LONGEST = 1e9

_Token = str | float


def is_textgrid(text: str) -> bool:
    """Whether a text is a TextGrid."""
    return _TEXTGRID.match(text) is not None


def read_textgrid(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the texts of intervals and the marks of points; fields are text and tier."""
    path = file.path
    reading = Reading(path=path, format="textgrid", label_fields=("text",))
    media = named_like(path)
    reading.covered.append(Coverage(media=media))
    tokens = _tokens(file.text)
    try:
        _expect(tokens, str, str, float, float, str)  # type, class, times, <exists>
        for _ in range(_count(tokens)):
            kind, tier, _, _ = _expect(tokens, str, str, float, float)
            if kind not in ("IntervalTier", "TextTier"):
                raise SourceError(f"{path} has a tier of the unknown class {str(kind)!r:.40}")
            for number in range(1, _count(tokens) + 1):
                times = _expect(tokens, float, float) if kind == "IntervalTier" else _expect(tokens, float)
                (label,) = _expect(tokens, str)
                if not str(label).strip():
                    continue  # Praat's intervals leave no gap: those between labels are empty
                fields = {"text": " ".join(str(label).split()), "tier": str(tier)}
                where = f"{path}, tier {str(tier)!r}, entry {number}"
                reading.add(where, media, (times[0], times[1] if times[1:] else None), fields)
    except _CutOff as error:
        reading.drop("incomplete entry", str(path), f"{error}; the file is not whole")
    return reading


class _CutOff(Exception):
    pass


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        if found["text"] is not None:
            yield found["text"].replace('""', '"')
        elif found["flag"] is not None:
            yield found["flag"]
        elif found["number"] is not None:
            yield float(found["number"])


def _expect(tokens: Iterator[_Token], *kinds: type) -> list[_Token]:
    """The next tokens, which must be of these kinds."""
    got: list[_Token] = []
    for kind in kinds:
        token = next(tokens, None)
        if token is None or not isinstance(token, kind) or (isinstance(token, float) and not abs(token) < _LONGEST):
            what = "it ends" if token is None else f"{token!r:.40} stands"
            raise _CutOff(f"{what} where a {'text' if kind is str else 'number'} should be")
        got.append(token)
    return got


def _count(tokens: Iterator[_Token]) -> int:
    (count,) = _expect(tokens, float)
    assert isinstance(count, float) and math.isfinite(count)
    return int(count)


def is_audacity(text: str) -> bool:
    """Whether every line of a text is a label of Audacity."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and not line.startswith(_FREQUENCIES)]
    return bool(lines) and all(map(_LABEL.fullmatch, lines))


def read_audacity(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the texts of the labels."""
    path = file.path
    if not any(map(_LABEL.fullmatch, file.lines)):
        raise SourceError(f"{path} is no label track of Audacity: no line is a start, an end and a label between tabs")
    reading = Reading(path=path, format="audacity")
    media = named_like(path)
    reading.covered.append(Coverage(media=media))
    for number, line in enumerate(file.lines, start=1):
        if not line.strip() or line.startswith(_FREQUENCIES):
            continue
        where = f"{path}, line {number}"
        found = _LABEL.fullmatch(line)
        start, end = (float(found["start"]), float(found["end"])) if found else (math.inf, math.inf)
        if found is None or not max(abs(start), abs(end)) < _LONGEST:
            reading.drop("incomplete entry", where, f"is no start, end and label between tabs: {line[:60]!r}")
            continue
        reading.add(where, media, (start, end if end != start else None), {"label": found["label"] or ""})
    return reading
