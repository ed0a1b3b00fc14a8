"""Which column of a table is what, by its name."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from re2tal.common.untrusted import some
from re2tal.labels.records import SourceError
from re2tal.labels.times import Unit

__all__ = ["ROLES", "Columns", "find_columns"]

# The usual names, in lower case and without what tells the unit; the first ones are preferred.
_VIDEO = (
    "video", "video id", "video name", "video file", "video filename", "video file name", "video path", "vid", "clip",
    "clip id", "clip name", "filename", "file name", "file", "media", "media file", "media file name", "path",
    "file path", "recording", "name", "id",
)  # fmt: skip
_START = ("start", "begin", "onset", "from", "segment start", "action start", "temporal segment start", "0", "in")
_END = ("end", "stop", "offset", "finish", "to", "segment end", "action end", "temporal segment end", "1", "out")
_DURATION = ("duration", "dur", "length")
_LABEL = (
    "label", "class", "class name", "label name", "action", "action label", "action class", "activity", "behavior",
    "behaviour", "category", "event", "event type", "annotation", "tag", "verb", "type", "description", "name",
)  # fmt: skip
# German, French, Spanish, Portuguese, Italian and Dutch, without accents.
_WORDS = {
    "video": "datei dateiname videodatei fichier archivo arquivo bestand",
    "start": "anfang beginn startzeit beginnzeit debut inicio inizio",
    "end": "ende endzeit fin final fim fine einde eind",
    "duration": "dauer duree duracion duracao durata duur",
    "label": "verhalten klasse aktion ereignis kategorie comportement classe categorie comportamiento clase accion "
    "comportamento categoria azione gedrag klas actie",
}
_SUBSET = ("subset", "split", "set", "partition")

_ENGLISH = {
    "video": _VIDEO, "start": _START, "end": _END, "duration": _DURATION, "label": _LABEL, "subset": _SUBSET
}  # fmt: skip
ROLES = {role: (*names, *_WORDS.get(role, "").split()) for role, names in _ENGLISH.items()}
_TIMES = ("start", "end", "duration")

_UNIT_WORDS: dict[str, Unit] = {
    **dict.fromkeys(("frame", "frames"), "frames"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "ss", "hh", "mm", "hms", "hhmmss"), "seconds"),
    **dict.fromkeys(("sekunde", "sekunden", "secondes", "segundos", "secondi", "seconden"), "seconds"),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "milliseconds"),
}
_IDLE_WORDS = ("t", "time", "times", "timestamp", "timecode", "index", "idx", "number", "no", "nr", "in", "zeit",
    "temps", "tiempo", "tempo", "tijd",
)  # fmt: skip
_PREFERENCE: tuple[Unit | None, ...] = ("seconds", None, "milliseconds", "frames")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of the columns that matter."""

    of: Mapping[str, int]
    """By role; roles without a column are absent."""
    unit: Unit | None
    """That the names of the columns of times tell."""


def find_columns(header: Sequence[str], *, named: Mapping[str, str]) -> Columns:
    """The columns of each role.

    Args:
        header: names of the columns.
        named: columns that the user names for roles.

    Raises:
        SourceError: a named column is not there.
    """
    of = {role: _position(header, name, role=role) for role, name in named.items()}
    free = {number: _words(name) for number, name in enumerate(header) if number not in of.values()}
    unit = _unit_of(_words(header[of["start"]])) if "start" in of else None
    times = {
        (role, _unit_of(words)): number
        for role in _TIMES
        for number, words in reversed(free.items())  # the first of equals stays
        if _time_name(words) in ROLES[role]
    }
    if ("start", "seconds") in times:  # what beside it tells no unit counts seconds, too
        for role in _TIMES:
            if (role, None) in times:
                times.setdefault((role, "seconds"), times[role, None])
    for candidate in _PREFERENCE if "start" not in of else (unit,):
        starts = ("start", candidate) in times or "start" in of
        if starts and (("end", candidate) in times or ("duration", candidate) in times or "end" in of):
            unit = candidate
            of |= {role: times[role, candidate] for role in _TIMES if (role, candidate) in times and role not in of}
            break
    for role in ("video", "label", "subset"):
        names = {" ".join(words): number for number, words in reversed(free.items()) if number not in of.values()}
        chosen = next((names[name] for name in ROLES[role] if name in names), None)
        if role not in of and chosen is not None:
            of[role] = chosen
    return Columns(of=of, unit=unit)


def _position(header: Sequence[str], name: str, *, role: str) -> int:
    stripped = [column.strip() for column in header]
    if name not in stripped:
        raise SourceError(f"has no column {name!r} for the {role}; it has {some(map(repr, stripped))}")
    return stripped.index(name)


def _words(name: str) -> list[str]:
    """`startTime (s)` -> start, time, s; without accents."""
    letters = (letter for letter in unicodedata.normalize("NFD", name.strip()) if not unicodedata.combining(letter))
    parted = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", "".join(letters))
    return [word for word in re.split(r"[\W_]+", parted.lower()) if word]


def _time_name(words: Sequence[str]) -> str:
    """Without what tells the unit; `in` alone is a name."""
    kept = [word for word in words if word not in _UNIT_WORDS and word not in _IDLE_WORDS]
    return " ".join(kept or [word for word in words if word == "in"])


def _unit_of(words: Sequence[str]) -> Unit | None:
    units = [_UNIT_WORDS[word] for word in words if word in _UNIT_WORDS]
    if "frames" in units:
        return "frames"
    return "seconds" if "seconds" in units else (units[0] if units else None)
