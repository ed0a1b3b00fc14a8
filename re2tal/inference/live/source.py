"""Where a stream comes from: a file that is still written, a pipe, an address; opened for FFmpeg to read.

FFmpeg reads files and pipes through `read` of an object of ours, which waits for what is not there yet. It takes them
for pipes: looking for the end of a file that has none yet is of no use.
"""

import os
import re
import select
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

import av
from av.container import InputContainer

from re2tal.common.untrusted import shown
from re2tal.inference.inputs import InputError
from re2tal.video import UnreadableVideoError
from re2tal.video.container import OPEN_OTHERS
from re2tal.video.limits import MAX_PIXELS

__all__ = ["ByteStream", "LiveSource", "is_passing", "live_source", "open_address", "open_bytes"]

_POLL_SECONDS = 0.05
_STALL_SECONDS = 10.0
"""A connection that gives nothing for so long is made anew."""

# By scheme: the protocols that an address may lead to, and formats that open addresses of their own for it.
_SCHEMES: dict[str, tuple[str, set[str]]] = {
    "rtsp": ("rtsp,rtp,udp,tcp", {"rtsp"}),
    "rtsps": ("rtsps,rtsp,rtp,udp,tcp,tls", {"rtsp"}),
    "http": ("http,httpproxy,tcp", set()),
    "https": ("https,http,httpproxy,tls,tcp", set()),
    "rtmp": ("rtmp,tcp", set()),
    "srt": ("srt", set()),
    "tcp": ("tcp", set()),
    "udp": ("udp", set()),
}
_HEAD_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class LiveSource:
    """What a person named."""

    kind: Literal["file", "pipe", "address"]
    address: str
    """Path or address; "-" is the standard input."""

    @property
    def name(self) -> str:
        """The address without the password and the query in it, for files and messages."""
        if self.kind != "address":
            return self.address
        return re.sub(r"://([^/@:]*):.*@", r"://\1:***@", self.address).split("?")[0]


def live_source(named: str) -> LiveSource:
    """What `named` means: "-", the path of a file or named pipe, or an address.

    Raises:
        InputError: it is nothing that could be a stream.
    """
    if named == "-":
        if sys.stdin is not None and sys.stdin.isatty():
            raise InputError("nothing is piped into the standard input; write: ffmpeg ... -f mpegts - | re2tal ...")
        return LiveSource(kind="pipe", address=named)
    scheme, separator, _ = named.partition("://")
    if separator:
        if scheme.lower() not in _SCHEMES:
            raise InputError(f"addresses begin with one of {', '.join(_SCHEMES)}, got {shown(named)}")
        return LiveSource(kind="address", address=f"{scheme.lower()}://{named.partition('://')[2]}")
    try:
        mode = Path(named).stat().st_mode
    except OSError as error:
        raise InputError(f"there is no file, pipe or address {shown(named)} ({error.strerror}); check it") from None
    if stat.S_ISREG(mode):
        return LiveSource(kind="file", address=named)
    if stat.S_ISFIFO(mode):
        return LiveSource(kind="pipe", address=named)
    what = "a folder" if stat.S_ISDIR(mode) else "a device"
    raise InputError(
        f"{shown(named)} is {what}, expected a file, a pipe or an address; of a camera, pipe what FFmpeg makes: "
        "ffmpeg -f v4l2 -i /dev/video0 -f mpegts - | re2tal predict --live - ..."
    )


class ByteStream:
    """A file that grows, or a pipe, as FFmpeg reads it.

    Args:
        source: a file or a pipe.
        timeout: seconds without new data after which it counts as ended.
        stop: ends it at once.
    """

    def __init__(self, source: LiveSource, *, timeout: float, stop: Event) -> None:
        self.source = source
        self._timeout, self._stop = timeout, stop
        self._is_pipe = source.kind == "pipe"
        is_stdin = source.address == "-"
        # A named pipe is opened without waiting for its writer, which may never come.
        self._file = (
            sys.stdin.fileno() if is_stdin else os.open(source.address, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        )
        self._owns = not is_stdin
        self._head = b""
        self._position = 0
        self.has_timed_out = False

    def head(self, size: int = _HEAD_BYTES) -> bytes:
        """The first bytes, which are read again afterwards; fewer if no more come."""
        while len(self._head) < size and (chunk := self._next(size - len(self._head))):
            self._head += chunk
        return self._head

    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as there is one; none at the end."""
        if self._head:
            chunk, self._head = self._head[:size], self._head[size:]
            return chunk
        return self._next(size)

    def _next(self, size: int) -> bytes:
        begin = time.monotonic()
        while not self._stop.is_set():
            if not self._is_pipe or select.select([self._file], [], [], _POLL_SECONDS)[0]:
                chunk = os.read(self._file, size)
                self._position += len(chunk)
                if chunk or self._is_pipe:
                    return chunk
            if time.monotonic() - begin >= self._timeout:
                self.has_timed_out = True
                break
            if not self._is_pipe:
                self._stop.wait(_POLL_SECONDS)
        return b""

    @property
    def share_unread(self) -> float:
        """Bytes of a file that are not read yet, by those that are; 0 for a pipe, of which nobody knows."""
        if self._is_pipe or not self._position:
            return 0.0
        return max(os.fstat(self._file).st_size - self._position, 0) / self._position

    def close(self) -> None:
        """Close it, unless it is the standard input."""
        if self._owns:
            os.close(self._file)
            self._owns = False


def open_bytes(stream: ByteStream) -> InputContainer:
    """Open what a file or pipe holds.

    Raises:
        UnreadableVideoError: it is empty, no video, or nothing that can be read from its beginning on.
    """
    name, head = stream.source.name, stream.head()
    if not head:
        raise UnreadableVideoError(f"{name}: no data came; check what writes it, or give it more time by --timeout")
    if _index_comes_last(head):
        raise UnreadableVideoError(
            f"{name} is an MP4 or MOV file, whose index is written when the recording ends: nobody can read it before; "
            "record Matroska (.mkv), MPEG-TS (.ts) or fragmented MP4 (FFmpeg: -movflags frag_keyframe+empty_moov). If "
            "it is finished, leave --live out"
        )
    try:
        return av.open(stream, "r", options=_options(protocols="none", formats=set()), metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise UnreadableVideoError(f"{name} is no readable video ({error.strerror}); check what writes it") from error


def open_address(source: LiveSource, *, timeout: float, options: Mapping[str, str]) -> InputContainer:
    """Connect to an address.

    Args:
        source: an address.
        timeout: seconds that connecting may take, and waiting for data.
        options: of FFmpeg, in place of ours.
    """
    scheme = source.address.partition("://")[0]
    protocols, formats = _SCHEMES[scheme]
    own = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") and "rtsp_flags" not in options else {}
    seconds = max(min(timeout, _STALL_SECONDS), 1.0)
    return av.open(
        source.address,
        "r",
        options={**own, **options, **_options(protocols=protocols, formats=formats)},
        timeout=(max(timeout, 1.0), seconds),
        metadata_errors="replace",
    )


def is_passing(error: Exception) -> bool:
    """Whether a connection that failed may succeed a moment later."""
    return isinstance(error, ConnectionError | TimeoutError | av.error.ExitError)


def _options(*, protocols: str, formats: set[str]) -> dict[str, str]:
    return {
        "format_whitelist": ",".join(sorted(av.formats_available - (OPEN_OTHERS - formats))),
        "protocol_whitelist": protocols,
        "max_pixels": str(MAX_PIXELS),
    }


def _index_comes_last(head: bytes) -> bool:
    """Whether a file of the MP4 family has its pictures before their index; told by the boxes at its beginning."""
    place = 0
    while head[4:8] in (b"ftyp", b"wide", b"free", b"mdat") and place + 8 <= len(head):
        size, kind = int.from_bytes(head[place : place + 4], "big"), head[place + 4 : place + 8]
        if kind == b"mdat":
            return True
        if kind not in (b"ftyp", b"wide", b"free") or size < 8:
            return False
        place += size
    return False
