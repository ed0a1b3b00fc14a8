"""A data set whose annotations are a table with one action a row: video, subset, start, end (seconds), label."""

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from re2tal.common.types import Action, AnnotatedVideo
from re2tal.data import AnnotationError, Annotations, DataSettings


class CsvListingConfig(DataSettings):
    """The table and the folder of the videos, `<video>.mp4`."""

    table: Path
    """CSV with the columns video, subset, start, end and label."""
    videos: Path
    """Folder of the videos."""

    def read_annotations(self, *, duration_of: Callable[[str], float | None]) -> Annotations:
        """The length of a video is that of its file."""
        actions: dict[tuple[str, str], list[Action]] = defaultdict(list)
        with self.table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                action = Action(start_seconds=float(row["start"]), end_seconds=float(row["end"]), label=row["label"])
                actions[row["video"], row["subset"]].append(action)
        videos = []
        for (video_id, subset), found in actions.items():
            duration = duration_of(video_id)
            if duration is None:
                raise AnnotationError(f"{self.table}: there is no {self.video_path(video_id)}; put the video there")
            videos.append(
                AnnotatedVideo(
                    video_id=video_id,
                    subset=subset,
                    duration_seconds=duration,
                    num_frames=None,
                    actions=tuple(found),
                )
            )
        return Annotations(path=self.table, videos=tuple(videos), problems=())

    def video_path(self, video_id: str) -> Path:
        """Refuses names that lead out of the folder."""
        return self.path_in(self.videos, f"{video_id}.mp4", video_id=video_id)

    def is_there(self) -> bool:
        """Whether there is such a table."""
        return self.table.is_file()
