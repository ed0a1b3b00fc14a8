"""The clips of a video file that no annotation tells of, in order, as testing cuts them.

The file is read once from its beginning to its end, whatever the clips share, and one clip is in memory at a time.
"""

from collections.abc import Iterator
from pathlib import Path

from re2tal.common.types import AnnotatedVideo, Clip
from re2tal.data.clip_specs import window_specs_of
from re2tal.data.config import DataSettings
from re2tal.data.frames import SlidingFrames
from re2tal.data.testing_set import clip_of
from re2tal.video import FrameReader, UnreadableVideoError, VideoError, VideoInfo, open_video, probe

__all__ = ["ClipStream", "require_room_for_crop"]


class ClipStream:
    """The clips that cover one video, to be iterated over once."""

    def __init__(
        self, path: Path, *, video_id: str, config: DataSettings, annotated: AnnotatedVideo | None = None
    ) -> None:
        """
        Args:
            path: of the video file.
            video_id: of the video.
            config: its sampling and sizes; nothing is said of the file by what else is in it.
            annotated: what the annotations of a data set say of the video, whose frame count and duration then
                decide where its clips lie, as in testing; None: those of the file decide.

        Raises:
            VideoError: the file cannot be used.
        """
        self.path = path
        self._config = config
        self.info = _probed(path)
        """Of the file."""
        require_room_for_crop(self.info.height, self.info.width, path=path, config=config)
        video = annotated or AnnotatedVideo(
            video_id=video_id,
            subset="",
            duration_seconds=self.info.duration_seconds,
            num_frames=None,
            actions=(),
        )
        self.video = video
        self.places = window_specs_of(video, sampling=config.sampling, count_frames=lambda: self.info.num_frames)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Clip]:
        """
        Raises:
            VideoError: the file turns out to be damaged.
        """
        with _opened(self.path) as reader:
            file = SlidingFrames(reader, short_side=self._config.short_side_test)
            for place in self.places:
                try:
                    clip = clip_of(place, file=file, config=self._config)
                except OSError as error:
                    raise UnreadableVideoError(f"{self.path} cannot be read ({error})") from error
                yield clip


def _probed(path: Path) -> VideoInfo:
    try:
        return probe(path)
    except OSError as error:
        raise UnreadableVideoError(f"{path} cannot be read ({error})") from error


def _opened(path: Path) -> FrameReader:
    try:
        return open_video(path)
    except OSError as error:
        raise UnreadableVideoError(f"{path} cannot be read ({error})") from error


def require_room_for_crop(height: int, width: int, *, path: Path | str, config: DataSettings) -> None:
    """A crop that is not square may not fit into frames that stand upright, or lie."""
    scale = config.short_side_test / min(height, width)
    resized = round(height * scale), round(width * scale)
    if config.crop_size[0] > resized[0] or config.crop_size[1] > resized[1]:
        raise VideoError(
            f"{path}: its frames of {height} x {width} pixels (height x width) are resized to {resized[0]} x "
            f"{resized[1]}, which the crop of {config.crop_size[0]} x {config.crop_size[1]} does not fit into; turn "
            "the video, or pad it"
        )
