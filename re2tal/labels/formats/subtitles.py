"""Subtitles as labels: SubRip (.srt) and WebVTT (.vtt); the text of a cue is its label.

Layouts: WebVTT as w3.org/TR/webvtt1 has it: a line that begins with WEBVTT, then blocks between blank lines, of which
those with a line `start --> end` are cues, perhaps with settings behind and an identifier above. SubRip: the same with
a number above and a comma before the milliseconds.
"""

import html
import re
from collections.abc import Iterator, Sequence

from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Reading, ReadOptions, SourceError, named_like

__all__ = ["is_srt", "is_vtt", "read_subtitles"]

_TIMES = re.compile(r"\s*(?P<start>[0-9:]+[,.]?[0-9]*)\s*-->\s*(?P<end>[0-9:]+[,.]?[0-9]*)(\s.*)?")
_TAGS = re.compile(r"</?(?:[ibucv]|font|lang|ruby|rt|[0-9]{2})\b[^<>]*>|\{\\[^{}]*\}")
_SCORE_ABOVE = re.compile(r"score (?P<score>[01]\.[0-9]+)")
_SCORE = re.compile(r"(?P<label>.*\S) (?P<score>[01]\.[0-9]{2})")


def is_vtt(text: str) -> bool:
    """Whether a text is WebVTT."""
    return re.match(r"\ufeff?WEBVTT([ \t\r\n]|$)", text) is not None


def is_srt(text: str) -> bool:
    """Whether a text begins with a cue of SubRip."""
    lines = [line for line in text.lstrip("\ufeff").splitlines()[:20] if line.strip()][:2]
    return any(_TIMES.fullmatch(line) for line in lines) and (len(lines) < 2 or _is_head(lines))


def _is_head(lines: list[str]) -> bool:
    return _TIMES.fullmatch(lines[0]) is not None or lines[0].strip().isdecimal()


def read_subtitles(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the texts of the cues; scores, as `re2tal predict` writes them behind all texts and `re2tal export`
    above the times, are the field score."""
    path, name = file.path, "vtt" if is_vtt(file.text) else "srt"
    reading = Reading(path=path, format=name)
    media = named_like(path)
    cues = list(_cues(file.lines))
    if not cues and name == "srt":
        raise SourceError(f"{path} has no cue, a line such as 00:00:01,000 --> 00:00:02,500")
    reading.covered.append(Coverage(media=media))
    scored = [_SCORE.fullmatch(label) for _, _, _, label, _ in cues]
    for (line, start, end, label, above), found in zip(cues, scored, strict=True):
        where = f"{path}, line {line}"
        fields = {"label": found["label"], "score": found["score"]} if found and all(scored) else {"label": label}
        if told := _SCORE_ABOVE.fullmatch(above.strip()):
            fields["score"] = told["score"]
        reading.add(where, media, (start, end), fields)
    return reading


def _begins_cue(lines: Sequence[str]) -> bool:
    """Whether the next cue begins, with its number or without, though no blank line is before it."""
    is_numbered = lines[0].strip().isdecimal() and len(lines) > 1 and _TIMES.fullmatch(lines[1]) is not None
    return is_numbered or _TIMES.fullmatch(lines[0]) is not None


def _cues(lines: Sequence[str]) -> Iterator[tuple[int, str, str, str, str]]:
    """Line, start, end, text and the line above of every cue; other blocks, as notes and styles, have no times."""
    number = 0
    while number < len(lines):
        found = _TIMES.fullmatch(lines[number])
        number += 1
        if found is None:
            continue
        line, shown = number, []
        while number < len(lines) and lines[number].strip() and not _begins_cue(lines[number : number + 2]):
            shown.append(lines[number])
            number += 1
        label = " ".join(html.unescape(_TAGS.sub("", " ".join(shown))).split())
        yield line, found["start"], found["end"], label, lines[line - 2] if line > 1 else ""
