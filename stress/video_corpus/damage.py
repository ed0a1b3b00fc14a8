"""Sound files made into damaged ones, with what must still be right about each.

A damage lies in bytes of the file, those in packets. The packets that it touches, and those up to the next key frame,
are its damaged part; what is shown before and after them is its sound part. Where it touches what describes the stream
(headers, tables), no part is known to be sound.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import av

from video_corpus.sound import Fingerprint, plain_decode

__all__ = ["Case", "Original", "damaged", "lossy_copies", "sound_case"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file to read, and what is known of its frames."""

    name: str
    family: str
    """What was done to it; results are counted by it."""
    path: Path
    truth: tuple[Fingerprint, ...] = ()
    """Of the frames that a sound file of this kind would have."""
    sound_before: int = 0
    """So many first frames are sound."""
    sound_after: int = 0
    """So many last ones are."""
    must_read: bool = False
    """The file is sound: an error is a fault."""


_MAX_MOVED = 4
"""The encoders at work here store no picture farther from its place."""


@dataclass(frozen=True, kw_only=True)
class _Packet:
    start: int
    end: int
    """In bytes of the file; `end` is where the next one starts, so what lies between belongs to both."""
    number: int
    """Its place in presentation order."""
    is_key: bool


class Original:
    """A sound file in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()
        self.truth = tuple(plain_decode(path))
        self.packets, has_times = _packets_of(path, num_bytes=len(self.content))
        """In the order of the file; none where the container does not tell places."""
        self.moved = 0 if has_times else _MAX_MOVED
        """By how many places the order of showing may differ from `number`."""

    def sound_parts(self, start: int, end: int) -> tuple[int, int]:
        """How many frames before and after a damage of the bytes from `start` to `end` are sound."""
        touched = [place for place, packet in enumerate(self.packets) if packet.start < end and start < packet.end]
        inside = self.packets and self.packets[0].start <= start and end <= self.packets[-1].end
        if not touched or not inside or len(self.packets) != len(self.truth):
            return 0, 0
        after = touched[-1] + 1
        while after < len(self.packets) and not self.packets[after].is_key:
            after += 1
        before = max(min(packet.number for packet in self.packets[touched[0] :]) - self.moved, 0)
        # Pictures shown before a key frame that follows the damage may refer to what lies before that.
        last_damaged = self.packets[after].number if after < len(self.packets) else len(self.truth)
        return before, max(len(self.truth) - last_damaged - self.moved, 0)


def _packets_of(path: Path, *, num_bytes: int) -> tuple[list[_Packet], bool]:
    """The packets, and whether the file tells the order in which they are shown."""
    with av.open(str(path), metadata_errors="replace") as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        noted = [(packet.pos, packet.size, packet.pts, packet.is_keyframe) for packet in found]
    if any(position is None for position, *_ in noted):
        return [], False
    times = [time for _, _, time, _ in noted]
    has_times = None not in times and len(set(times)) == len(times) and path.suffix != ".avi"  # AVI has none
    order = sorted(range(len(noted)), key=lambda place: (times[place] or 0) if has_times else place)
    number_of = {place: number for number, place in enumerate(order)}
    starts = [position or 0 for position, *_ in noted]
    distinct = [*sorted(set(starts)), min(starts[-1] + noted[-1][1], num_bytes)] if noted else []
    # Several may lie in one piece of the container, whose place is told of all of them.
    end_of = dict(pairwise(distinct))
    packets = [
        _Packet(start=starts[place], end=end_of[starts[place]], number=number_of[place], is_key=key)
        for place, (*_, key) in enumerate(noted)
    ]
    return packets, has_times


Change = Callable[[Original, Random], tuple[bytes, tuple[int, int]]]
"""Gives the file's new content, and from where to where it differs."""


def _cut(share: float) -> Change:
    def change(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
        kept = int(len(original.content) * share)
        return original.content[:kept], (kept, len(original.content))

    return change


def _overwrite(kind: str, *, length: int) -> Change:
    """A stretch of the file zeroed, or replaced by noise, as bad sectors and broken copies leave it."""

    def change(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
        start, end = _media(original)
        start = rng.randrange(start, max(end - length, start + 1))
        end = min(start + length, len(original.content))
        new = bytes(end - start) if kind == "zeros" else rng.randbytes(end - start)
        return original.content[:start] + new + original.content[end:], (start, end)

    return change


def _flip_in_packet(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    start, end = _media(original)
    return _flipped(original.content, rng.randrange(start, end), rng)


def _flip_in_header(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    start, end = _media(original)
    outside = [*range(start), *range(end, len(original.content))] or [*range(min(64, len(original.content)))]
    return _flipped(original.content, rng.choice(outside), rng)


def _flip_many(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    content = bytearray(original.content)
    places = sorted(rng.randrange(len(content)) for _ in range(20))
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    return bytes(content), (places[0], places[-1] + 1)


def _remove(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    """A stretch left out: all that follows lies elsewhere than the tables say."""
    start, end = _media(original)
    start = rng.randrange(start, end)
    return original.content[:start] + original.content[start + 300 :], (start, len(original.content))


def _insert(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    start, end = _media(original)
    start = rng.randrange(start, end)
    return original.content[:start] + rng.randbytes(300) + original.content[start:], (start, len(original.content))


def _behead(original: Original, rng: Random) -> tuple[bytes, tuple[int, int]]:
    """The first bytes left out, as by a download that was resumed at the wrong place."""
    return original.content[rng.randrange(1, 600) :], (0, len(original.content))


def _flipped(content: bytes, place: int, rng: Random) -> tuple[bytes, tuple[int, int]]:
    changed = bytearray(content)
    changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed), (place, place + 1)


def _media(original: Original) -> tuple[int, int]:
    """From the first to the last packet; the whole file where places are not told."""
    if not original.packets:
        return 0, len(original.content)
    return min(packet.start for packet in original.packets), max(packet.end for packet in original.packets)


CHANGES: tuple[tuple[str, Change], ...] = (
    ("cut short", _cut(0.97)),
    ("bit in a packet", _flip_in_packet),
    ("zeros", _overwrite("zeros", length=200)),
    ("bit in a header", _flip_in_header),
    ("noise", _overwrite("noise", length=200)),
    ("cut short", _cut(0.5)),
    ("bit in a packet", _flip_in_packet),
    ("bytes left out", _remove),
    ("bit in a header", _flip_in_header),
    ("twenty bits", _flip_many),
    ("bytes put in", _insert),
    ("start left out", _behead),
    ("cut short", _cut(0.08)),
    ("zeros", _overwrite("zeros", length=4096)),
    ("bit in a packet", _flip_in_packet),
    ("bit in a header", _flip_in_header),
    ("noise", _overwrite("noise", length=4096)),
)
"""In the order in which a small corpus takes them."""


def damaged(original: Original, *, folder: Path, seed: int, first: int, count: int) -> Iterator[Case]:
    """`count` damaged copies, by the changes from number `first` on, written into `folder`."""
    for number in range(first, first + count):
        family, change = CHANGES[number % len(CHANGES)]
        rng = Random(f"{seed} {original.path.name} {number}")
        content, (start, end) = change(original, rng)
        path = folder / f"{original.path.stem}_{number}{original.path.suffix}"
        path.write_bytes(content)
        before, after = original.sound_parts(start, end)
        if len(content) != len(original.content):
            after = 0  # what follows has moved
        yield Case(
            name=path.name,
            family=family,
            path=path,
            truth=original.truth,
            sound_before=before,
            sound_after=after,
        )


def lossy_copies(original: Original, *, folder: Path) -> Iterator[Case]:
    """The stream copied without its first key frame, and without one picture in the middle."""
    keys = [place for place, packet in enumerate(original.packets) if packet.is_key]
    if len(keys) < 3 or len(original.packets) != len(original.truth):
        return
    second = original.packets[keys[1]].number
    path = folder / f"{original.path.stem}_headless{original.path.suffix}"
    _copy_without(original.path, path, dropped={keys[0]})
    sound = len(original.truth) - second
    yield Case(name=path.name, family="no key frame", path=path, truth=original.truth, sound_after=sound)
    middle = keys[1] + 1
    path = folder / f"{original.path.stem}_gap{original.path.suffix}"
    _copy_without(original.path, path, dropped={middle})
    before = min(packet.number for packet in original.packets[middle:])
    after = len(original.truth) - original.packets[keys[2]].number
    name = path.name
    yield Case(
        name=name, family="a picture lost", path=path, truth=original.truth, sound_before=before, sound_after=after
    )


def _copy_without(source: Path, target: Path, *, dropped: set[int]) -> None:
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0], opaque=True)
        packets = (packet for packet in reading.demux(video=0) if packet.size)
        for place, packet in enumerate(packets):
            if place not in dropped:
                packet.stream = stream
                if packet.dts is None and packet.pts is not None:  # Matroska does not tell the first ones
                    packet.dts = packet.pts - 1000
                writing.mux(packet)


def sound_case(path: Path, *, family: str, truth: Sequence[Fingerprint]) -> Case:
    """A file that must be read whole."""
    return Case(name=path.name, family=family, path=path, truth=tuple(truth), sound_before=len(truth), must_read=True)
