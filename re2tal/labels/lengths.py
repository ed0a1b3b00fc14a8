"""Videos that are not at hand, known by their lengths alone: enough for detectors on features of others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from re2tal.common.untrusted import some
from re2tal.common.video_files import plain_name
from re2tal.labels.formats import SourceFile
from re2tal.labels.records import Reading, ReadOptions, SourceError, ToldLength
from re2tal.labels.sources import read_sources
from re2tal.labels.videos import VideoFolder
from re2tal.video import VideoInfo

__all__ = ["ToldVideos", "read_lengths"]

_COLUMNS = {
    "video": ("video_id", "video", "id", "video_name", "name"),
    "seconds": ("duration", "length", "seconds", "duration_seconds"),
    "fps": ("fps", "frame_rate"),
}


class ToldVideos(VideoFolder):
    """Takes the place of a folder of videos."""

    def __init__(self, readings: Iterable[Reading], lengths: Mapping[str, ToldLength]) -> None:
        """
        Args:
            readings: of files of labels, which may tell lengths, too.
            lengths: of a table, which count first.

        Raises:
            SourceError: no length of any video is told.
        """
        told = {name: length for reading in readings for name, length in reading.lengths.items()} | dict(lengths)
        if not told:
            raise SourceError(
                "nothing tells how long the videos are; give their folder with --videos, or a table with --lengths, "
                "such as EPIC_100_video_info.csv"
            )
        self.root = Path()
        self.linked, self.unnameable = [], []
        self.infos: dict[PurePosixPath, VideoInfo | str] = {
            PurePosixPath(name): _info(length) for name, length in told.items()
        }
        """What is known of each."""
        self.files = tuple(PurePosixPath(name) for name in told)
        self._by_name = defaultdict(list)
        for file in self.files:
            self._by_name[plain_name(str(file))].append(file)


def read_lengths(path: Path) -> dict[str, ToldLength]:
    """Lengths by video: from a CSV file with a column of ids and one of seconds, or from annotations that tell them.

    Raises:
        SourceError: it tells none.
    """
    if path.suffix.lower() != ".csv":
        found = {
            name: told
            for reading in read_sources([path], format_=None, options=ReadOptions())
            for name, told in reading.lengths.items()
        }
        if not found:
            raise SourceError(f"{path} tells no lengths of videos; give a CSV file with columns video_id and duration")
        return found
    try:
        table = SourceFile(path, path.read_bytes()).table
    except (OSError, SourceError) as error:
        raise SourceError(f"{path} is not a readable CSV file: {error}") from None
    names = {name.lower(): name for name in table.names}
    column = {role: next((names[name] for name in known if name in names), None) for role, known in _COLUMNS.items()}
    video, seconds, fps = column["video"], column["seconds"], column["fps"]
    if video is None or seconds is None:
        raise SourceError(
            f"{path} must have a column of videos ({', '.join(_COLUMNS['video'])}) and one of seconds "
            f"({', '.join(_COLUMNS['seconds'])}), got {some(map(repr, names))}"
        )
    reading = Reading(path=path, format="csv")
    for _, cells in table.entries():
        reading.tell_length(cells[video], cells[seconds], fps=cells.get(fps or ""))
    if not reading.lengths:
        raise SourceError(f"{path}: no row tells a video and its length in seconds")
    return reading.lengths


def _info(length: ToldLength) -> VideoInfo:
    """As of a file; what is not known is 0."""
    rate = length.fps or 0.0
    return VideoInfo(
        num_frames=round(length.seconds * rate),
        fps=rate,
        duration_seconds=length.seconds,
        width=0,
        height=0,
        drift_seconds=0.0,
        is_turned=False,
    )
