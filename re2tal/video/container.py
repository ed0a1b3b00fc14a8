"""Open a file for decoding, or say what is wrong with it."""

from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from re2tal.video.errors import MissingVideoError, NoVideoStreamError, UnreadableVideoError, VideoError

__all__ = ["open_container"]

# FFmpeg takes pictures for videos of one frame, and text for ANSI art.
_NO_VIDEO_FORMATS = ("tty", "image2", "_pipe")


def open_container(path: Path, *, threads: int) -> tuple[InputContainer, VideoStream]:
    """Open a file and choose its first moving picture; the caller closes the container.

    Args:
        threads: decoder threads, 0 for one per core.

    Raises:
        VideoError: the file is missing, empty, unreadable or holds no video.
    """
    if not path.exists():
        raise MissingVideoError(f"no video file {path}; check the folder and the name pattern")
    if path.is_dir() or path.stat().st_size == 0:
        what = "a folder" if path.is_dir() else "empty (0 bytes)"
        raise UnreadableVideoError(f"{path} is {what}, expected a video file; replace it")
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise UnreadableVideoError(f"{path} is not a readable video file ({error.strerror}); replace it") from error
    try:
        stream = _video_stream(container, path=path)
    except VideoError:
        container.close()
        raise
    stream.thread_count = threads
    stream.thread_type = "AUTO"
    return container, stream


def _video_stream(container: InputContainer, *, path: Path) -> VideoStream:
    if container.format.name.endswith(_NO_VIDEO_FORMATS):
        raise UnreadableVideoError(f"{path} is a text or picture file ({container.format.name}), expected a video file")
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise UnreadableVideoError(
                f"{path}: the installed FFmpeg has no decoder for this video; convert the file to H.264"
            )
        return stream
    cover = " but a cover picture" if container.streams.video else ""
    raise NoVideoStreamError(f"{path} holds no video stream{cover}; expected a file with moving pictures")
