"""Open a file for decoding, or say what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from re2tal.video.errors import MissingVideoError, NoVideoStreamError, UnreadableVideoError, VideoError
from re2tal.video.limits import MAX_PIXELS, STALL_SECONDS, require_size, stalled

__all__ = ["OPEN_OTHERS", "fault_of", "open_container", "packets_of", "video_stream_of"]

# FFmpeg takes pictures for videos of one frame, and text for ANSI art.
_NO_VIDEO_FORMATS = ("tty", "image2", "_pipe")

# Playlists and descriptions of sessions: FFmpeg would open whatever files, devices and addresses they name.
OPEN_OTHERS = {"concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub", "webm_dash_manifest"}
_OPENING = {
    "format_whitelist": ",".join(sorted(av.formats_available - OPEN_OTHERS)),
    "protocol_whitelist": "file",
    "max_pixels": str(MAX_PIXELS),  # of the decoders that look into the file to know its streams
}


_NO_MOVING_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def open_container(path: Path, *, threads: int) -> tuple[InputContainer, VideoStream]:
    """Open a file and choose the stream that a player would show; the caller closes the container.

    Args:
        threads: decoder threads, 0 for one per core.

    Raises:
        VideoError: the file is missing, empty, unreadable or holds no video.
    """
    _require_content(path)
    try:
        # Tags may be in any encoding, and nobody reads them. The prefix keeps names from being taken for addresses.
        container = av.open(f"file:{path}", options=_OPENING, metadata_errors="replace", timeout=STALL_SECONDS)
    except av.error.ExitError as error:
        raise stalled(path) from error
    except av.error.FFmpegError as error:
        raise UnreadableVideoError(f"{path} is not a readable video file ({error.strerror}); replace it") from error
    try:
        stream = video_stream_of(container, path=path)
        require_size(stream.width, stream.height, path=path)
    except VideoError:
        container.close()
        raise
    stream.thread_count = threads
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return container, stream


def fault_of(path: Path) -> str | None:
    """Why a file is no video that can be opened, from its beginning alone; None if it is one."""
    try:
        container, _ = open_container(path, threads=1)
    except VideoError as error:
        return str(error)
    container.close()
    return None


def packets_of(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """The packets of a stream, and an empty one at its end."""
    try:
        yield from container.demux(stream)
    except IndexError:
        # PyAV also ends streams that appeared on the way, as damage makes them in MPEG streams, and does not know them.
        return  # they come after the one that was asked for


def _require_content(path: Path) -> None:
    """A file with something in it: a pipe or a device may never end, or never begin."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MissingVideoError(f"no video file {path}; check the folder and the name pattern") from error
    except OSError as error:
        raise UnreadableVideoError(f"{path} cannot be opened ({error.strerror}); check it") from error
    if path.is_dir() or not S_ISREG(status.st_mode) or status.st_size == 0:
        what = "a folder" if path.is_dir() else "empty (0 bytes)" if S_ISREG(status.st_mode) else "a pipe or a device"
        raise UnreadableVideoError(f"{path} is {what}, expected a video file; replace it")


def video_stream_of(container: InputContainer, *, path: Path | str) -> VideoStream:
    """The first moving picture of a file.

    Raises:
        VideoError: there is none.
    """
    if container.format.name.endswith(_NO_VIDEO_FORMATS):
        raise UnreadableVideoError(f"{path} is a text or picture file ({container.format.name}), expected a video file")
    shown = [stream for stream in container.streams.video if not stream.disposition & _NO_MOVING_PICTURES]
    moving = [stream for stream in shown if stream.frames != 1] or shown
    if not moving:
        cover = " but a cover picture" if container.streams.video else ""
        raise NoVideoStreamError(f"{path} holds no video stream{cover}; expected a file with moving pictures")
    # As players of FFmpeg's choose: what the file says is its default, then what has many frames, then most bits.
    best = container.streams.best("video")
    by_default = [stream for stream in moving if stream.disposition & Disposition.default]
    chosen = best if best in moving else (by_default or moving)[0]
    assert isinstance(chosen, VideoStream)
    if chosen.codec_context is None:
        raise UnreadableVideoError(
            f"{path}: the installed FFmpeg has no decoder for this video; convert the file to H.264"
        )
    return chosen
