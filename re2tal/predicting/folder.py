"""Where predictions go, and what of an earlier call is there already."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re2tal.detections import whole_text, write_rows
from re2tal.predicting.inputs import VideoFile
from re2tal.predicting.outputs import Row, csv_text, vtt_text
from re2tal.untrusted import JsonError, parse_json

__all__ = ["SHOWN_FROM", "PredictionFolder", "Written", "identity_of"]

SHOWN_FROM = 0.3
"""Score from which detections are written for people (CSV, WebVTT) if nothing else is said."""

_FORMAT = "re2tal-prediction-1"


@dataclass(frozen=True, kw_only=True)
class PredictionFolder:
    """The files of predictions in one folder.

    Everything that was found in a video lies in `finished/<id>.json`, from which all else is written.
    """

    path: Path
    fingerprint: str
    """Of detector and settings; what another one found is not taken."""
    min_score: float | None
    """Detections below it are left out of everything but `finished/`; None: out of what people read, below
    `SHOWN_FROM`."""

    @property
    def shown_from(self) -> float:
        """The lowest score in CSV and WebVTT."""
        return SHOWN_FROM if self.min_score is None else self.min_score

    @property
    def submission(self) -> Path:
        """Detections of all videos, in ActivityNet's layout."""
        return self.path / "detections.json"

    @property
    def table(self) -> Path:
        """The same as CSV."""
        return self.path / "detections.csv"

    def of_video(self, video_id: str, ending: str) -> Path:
        """A file on one video."""
        return self.path / "videos" / f"{video_id}{ending}"

    def keep(self, video: VideoFile, rows: Sequence[Row], *, duration_seconds: float) -> None:
        """Keep everything that was found in a video, and write its files."""
        record = {
            "format": _FORMAT,
            "video": video.video_id,
            "duration_seconds": duration_seconds,
            **identity_of(video, fingerprint=self.fingerprint),
            "detections": rows,
        }
        with whole_text(self._finished(video.video_id)) as file:
            json.dump(record, file, allow_nan=False)
        self._write_video(video.video_id, rows)

    def found_in(self, video: VideoFile) -> list[dict[str, Any]] | None:
        """Everything that this detector found in a video, now or in an earlier call; None if it has not been done."""
        try:
            record = parse_json(self._finished(video.video_id).read_bytes())
        except (OSError, JsonError):
            return None
        wanted = {"format": _FORMAT, **identity_of(video, fingerprint=self.fingerprint)}
        if not isinstance(record, dict) or any(record.get(name) != value for name, value in wanted.items()):
            return None
        return record["detections"]

    def write_all(self, videos: Iterable[VideoFile]) -> "Written":
        """Write the files on each of the videos, which are done, and those on all together."""
        shown, best, elsewhere = 0, 0.0, []
        with whole_text(self.table) as table:
            table.write(csv_text("", ()))

            def rows_of_each() -> Iterable[tuple[str, list[Row]]]:
                nonlocal shown, best
                for video in videos:
                    rows = self.found_in(video)
                    if rows is None:
                        elsewhere.append(video.video_id)
                        continue
                    self._write_video(video.video_id, rows)
                    table.write(csv_text(video.video_id, self._shown(rows), header=False))
                    shown += len(self._shown(rows))
                    best = max([best, *(row["score"] for row in rows)])
                    yield video.video_id, self._kept(rows)

            write_rows(self.submission, rows_of_each())
        return Written(num_shown=shown, best_score=best, elsewhere=tuple(elsewhere))

    def _write_video(self, video_id: str, rows: Sequence[Row]) -> None:
        write_rows(self.of_video(video_id, ".json"), [(video_id, self._kept(rows))])
        with whole_text(self.of_video(video_id, ".csv")) as file:
            file.write(csv_text(video_id, self._shown(rows)))
        with whole_text(self.of_video(video_id, ".vtt")) as file:
            file.write(vtt_text(self._shown(rows)))

    def _kept(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row["score"] >= (self.min_score or 0.0)]

    def _shown(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row["score"] >= self.shown_from]

    def _finished(self, video_id: str) -> Path:
        return self.path / "finished" / f"{video_id}.json"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written on many videos."""

    num_shown: int = 0
    """Detections in the CSV file."""
    best_score: float = 0.0
    """Of all detections, shown or not."""
    elsewhere: tuple[str, ...] = ()
    """Videos that were done, but not in this folder: by a process of a machine that sees another one."""


def identity_of(video: VideoFile, *, fingerprint: str) -> dict[str, Any]:
    """What a result is the result of: if any of it has changed, the work has to be done again."""
    try:
        changed = video.path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return {"bytes": video.num_bytes, "changed_ns": changed, "fingerprint": fingerprint}
