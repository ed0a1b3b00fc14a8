"""Events of programs that write a start and a stop down apart, paired to segments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from re2tal.labels.records import Media, Reading

__all__ = ["POINT", "START", "STOP", "CodedEvent", "add_events"]

START, STOP, POINT = "START", "STOP", "POINT"


@dataclass(frozen=True, kw_only=True)
class CodedEvent:
    """A start, a stop or a point."""

    where: str
    status: str
    seconds: float
    key: tuple[str, ...]
    """What a start and its stop have in common."""
    fields: Mapping[str, str]
    """With the code as "behavior"."""
    media: tuple[Media, ...]
    """Names of the video that shows it; none if that cannot be known."""
    listed_as: str | None = None
    """The video as the file tells it."""
    in_turn: tuple[Media, ...] = ()
    """The videos that are played one after the other, where it is known when each begins."""


def add_events(events: Iterable[CodedEvent], *, reading: Reading) -> None:
    """Pair starts with their stops; what goes on into the next video belongs to both."""
    begun: dict[tuple[str, ...], CodedEvent] = {}
    for event in sorted(events, key=lambda event: event.seconds):  # files that were merged need not be in order
        if event.status == STOP:
            start = begun.pop(event.key, None)
            if start is None:
                _drop_unpaired(event, reading=reading)
            else:
                _add(start, stop=event, reading=reading)
            continue
        if event.status == POINT:
            _add(event, stop=None, reading=reading)
            continue
        if event.key in begun:
            _drop_unpaired(begun[event.key], reading=reading)
        begun[event.key] = event
    for event in begun.values():
        _drop_unpaired(event, reading=reading)


def _drop_unpaired(event: CodedEvent, *, reading: Reading) -> None:
    other = START if event.status == STOP else STOP
    detail = f"{event.fields['behavior']!r} has a {event.status} at {event.seconds:g} s and no {other}"
    reading.drop("state event without its pair", event.where, detail, media=event.media)


def _add(event: CodedEvent, *, stop: CodedEvent | None, reading: Reading) -> None:
    if not event.media:
        detail = "stands in a later media file, and the length of an earlier one is not told"
        reading.drop("no video time", event.where, detail)
        if event.listed_as is not None:  # of which nothing is known, least of all that nothing happens in it
            reading.listed.pop(event.listed_as, None)
        return
    for media in _shown_by(event, stop=stop):
        reading.add(event.where, media, (event.seconds, None if stop is None else stop.seconds), event.fields)


def _shown_by(event: CodedEvent, *, stop: CodedEvent | None) -> list[tuple[Media, ...]]:
    """The video of an event, and those of the same playlist until its stop."""
    videos = [event.media]
    if stop is not None and event.media[0] in event.in_turn and {*stop.media} & {*event.in_turn}:
        first, last = (event.in_turn.index(media) for media in (event.media[0], stop.media[0]))
        later = event.in_turn[first + 1 : last + 1]
        videos += [(media,) for media in later if stop.seconds + media.origin_seconds > 0]
    return videos
