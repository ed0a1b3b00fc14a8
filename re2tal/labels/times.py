"""Times as people write them: seconds, frames, milliseconds or hours, minutes and seconds."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from re2tal.common.untrusted import is_number

__all__ = ["Time", "TimeError", "Unit", "number_of", "parse_time", "time_of"]

Unit = Literal["seconds", "frames", "milliseconds"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_CLOCK = re.compile(r"(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-9]+):(?P<seconds>[0-9]{1,2}(?:[.,][0-9]*)?)")
# Hours, minutes, seconds and frames, as editing programs show them; a semicolon marks dropped frame numbers.
_TIMECODE = re.compile(r"(?P<hours>[0-9]+):(?P<minutes>[0-9]{1,2}):(?P<seconds>[0-9]{1,2})[:;](?P<frames>[0-9]{1,3})")
_LONGEST = 60
_SECONDS_SIGN = re.compile(r"\s*(?:s|sec|secs|seconds)$", flags=re.IGNORECASE)


class TimeError(ValueError):
    """A text that is no time."""


@dataclass(frozen=True, kw_only=True)
class Time:
    """A place in a video: seconds, and frames that only the video's rate turns into seconds."""

    seconds: float = 0.0
    frames: float = 0.0

    def at(self, fps: float) -> float:
        """In seconds; frame n is shown from n / fps on."""
        return self.seconds + (self.frames / fps if self.frames else 0.0)


def parse_time(text: str, *, unit: Unit = "seconds") -> Time:
    """Read a time.

    `12.5`, `12,5` and `12.5 s` are numbers of `unit` (a sign of seconds always means seconds); `1:02:03.5`, `62:03,5`
    are hours, minutes and seconds whatever the unit; `01:02:03:12` ends with frames. A comma is a decimal comma, so a
    number has one point or comma at most: `1,234.5` is refused rather than guessed.

    Raises:
        TimeError: with what was found and what is understood.
    """
    stripped = text.strip()
    if len(stripped) > _LONGEST:
        raise TimeError(f"a time has {_LONGEST} characters at most, got {text[:40]!r}...")
    if found := _TIMECODE.fullmatch(stripped):
        return Time(seconds=_clock(found, text), frames=float(found["frames"]))
    if found := _CLOCK.fullmatch(stripped):
        return Time(seconds=_clock(found, text))
    number = _SECONDS_SIGN.sub("", stripped)
    if not _NUMBER.fullmatch(number):
        what = "nothing" if not stripped else repr(text[:40])
        raise TimeError(f"a time is a number, h:mm:ss, m:ss.s or hh:mm:ss:frames, got {what}")
    value = float(number.replace(",", "."))
    if abs(value) > 1e9:
        raise TimeError(f"a time must be below a billion, got {text[:40]!r}")
    return time_of(value, unit="seconds" if number != stripped else unit)


def time_of(value: float, *, unit: Unit) -> Time:
    """A number of seconds, milliseconds or frames as a time."""
    match unit:
        case "seconds":
            return Time(seconds=value)
        case "milliseconds":
            return Time(seconds=value / 1000)
        case "frames":
            return Time(frames=value)
        case _:
            raise ValueError(f"unknown unit {unit!r}")


def number_of(value: Any) -> float | None:
    """A number of JSON, or the seconds that a text tells; None for whatever is neither, or not below a billion."""
    if isinstance(value, str):
        try:
            return parse_time(value).seconds
        except TimeError:
            return None
    return float(value) if is_number(value) and abs(value) < 1e9 else None


def _clock(found: re.Match[str], text: str) -> float:
    hours, minutes = int(found["hours"] or 0), int(found["minutes"])
    seconds = float(found["seconds"].replace(",", "."))
    if seconds >= 60 or (found["hours"] is not None and minutes >= 60):
        raise TimeError(f"minutes and seconds must be below 60, got {text[:40]!r}")
    if hours > 10_000 or minutes > 1_000_000:
        raise TimeError(f"a time must be below 10000 hours, got {text[:40]!r}")
    return 3600 * hours + 60 * minutes + seconds
