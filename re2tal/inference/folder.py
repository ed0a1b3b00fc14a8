"""Where predictions go, and what of an earlier call is there already."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import JsonError, parse_json
from re2tal.detections import write_rows, writing_rows
from re2tal.inference.inputs import VideoFile
from re2tal.inference.outputs import Row, csv_text, vtt_text
from re2tal.inference.written import WrittenFiles, fingerprint_of, read_note, write_note

__all__ = ["SHOWN_FROM", "PredictionFolder", "identity_of"]

SHOWN_FROM = 0.3
"""Score from which detections are written for people (CSV, WebVTT) if nothing else is said."""

_FORMAT = "re2tal-prediction-1"

_NUM_IN_EXCERPT = 200_000
_MOST_OF_A_VIDEO = 200
"""An excerpt is for a page: so much can be looked at, and more would make it slow to open."""

_HEAD_BYTES = 16_384
_BEFORE_ROWS = b', "detections": ['
"""A name cannot hold it: inside of a JSON string, quotation marks follow a backslash."""


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
        """Detections of all videos, as CSV."""
        return self.path / "detections.csv"

    @property
    def excerpt(self) -> Path:
        """The best of every video, so few that a page can show them all."""
        return self.path / ".excerpt.json"

    @property
    def _note(self) -> Path:
        return self.path / ".written.json"

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
        with atomic_text(self._finished(video.video_id)) as file:
            file.write(json.dumps(record, allow_nan=False))  # json.dump, in pieces, takes ten times as long
        self._write_video(video.video_id, rows)

    def is_done(self, video: VideoFile) -> bool:
        """Whether this detector's results of a video are there; of thousands of them only the heads are read."""
        try:
            with self._finished(video.video_id).open("rb") as file:
                head, marker, _ = file.read(_HEAD_BYTES).partition(_BEFORE_ROWS)
                file.seek(-2, os.SEEK_END)
                is_whole = bool(marker) and file.read() == b"]}"
            return is_whole and self._is_of(video, parse_json(head + b"}"))
        except (OSError, ValueError):
            return False

    def found_in(self, video: VideoFile) -> list[dict[str, Any]] | None:
        """Everything that this detector found in a video, now or in an earlier call; None if it has not been done."""
        try:
            record = parse_json(self._finished(video.video_id).read_bytes())
        except (OSError, JsonError):
            return None
        return record["detections"] if self._is_of(video, record) else None

    def _is_of(self, video: VideoFile, record: Any) -> bool:
        wanted = {"format": _FORMAT, **identity_of(video, fingerprint=self.fingerprint)}
        return isinstance(record, dict) and all(record.get(name) == value for name, value in wanted.items())

    def write_all(self, videos: Sequence[VideoFile]) -> WrittenFiles:
        """Write what was found in the videos into files on all of them, and those of each as this call wants them.

        One video is in memory at a time. If the same was written before and is still there, nothing is done.
        """
        identities = ((video.video_id, identity_of(video, fingerprint=self.fingerprint)) for video in videos)
        fingerprint = fingerprint_of(identities, settings=[_FORMAT, self.min_score])
        files = [self.submission, self.table, self.excerpt]
        before = read_note(self._note, fingerprint=fingerprint, files=files)
        if before is not None and all(path.is_file() for video in videos for path in self._files_on(video.video_id)):
            return before
        written = self._write_files(videos)
        if written.elsewhere:
            self._note.unlink(missing_ok=True)
        else:
            write_note(self._note, written, fingerprint=fingerprint, files=files)
        return written

    def _write_files(self, videos: Sequence[VideoFile]) -> WrittenFiles:
        shown, kept, best, elsewhere = 0, 0, 0.0, []
        most = max(min(_MOST_OF_A_VIDEO, _NUM_IN_EXCERPT // max(len(videos), 1)), 1)
        with ExitStack() as stack:
            table = stack.enter_context(atomic_text(self.table))
            table.write(csv_text("", []))
            excerpt = stack.enter_context(writing_rows(self.excerpt))
            submission = stack.enter_context(writing_rows(self.submission))
            for video in videos:
                rows = self.found_in(video)
                if rows is None:
                    elsewhere.append(video.video_id)
                    self._forget_damaged(video)
                    continue
                self._write_video(video.video_id, rows)
                of_all, of_people = self._kept(rows), self._shown(rows)
                table.write(csv_text(video.video_id, of_people, header=False))
                submission(video.video_id, of_all)
                excerpt(video.video_id, sorted(of_all, key=lambda row: row["score"], reverse=True)[:most])
                shown, kept = shown + len(of_people), kept + len(of_all)
                best = max([best, *(row["score"] for row in rows)])
        return WrittenFiles(num_shown=shown, num_kept=kept, best_score=best, elsewhere=tuple(elsewhere))

    def _forget_damaged(self, video: VideoFile) -> None:
        """Results whose head is whole and whose rest cannot be read would never be made again."""
        if self.is_done(video):
            self._finished(video.video_id).unlink()

    def _write_video(self, video_id: str, rows: Sequence[Row]) -> None:
        submission, table, subtitles = self._files_on(video_id)
        write_rows(submission, [(video_id, self._kept(rows))])
        with atomic_text(table) as file:
            file.write(csv_text(video_id, self._shown(rows)))
        with atomic_text(subtitles) as file:
            file.write(vtt_text(self._shown(rows)))

    def _files_on(self, video_id: str) -> list[Path]:
        return [self.of_video(video_id, ending) for ending in (".json", ".csv", ".vtt")]

    def _kept(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row["score"] >= (self.min_score or 0.0)]

    def _shown(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row["score"] >= self.shown_from]

    def _finished(self, video_id: str) -> Path:
        return self.path / "finished" / f"{video_id}.json"


def identity_of(video: VideoFile, *, fingerprint: str) -> dict[str, Any]:
    """What a result is the result of: if any of it has changed, the work has to be done again."""
    try:
        changed = video.path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return {"bytes": video.num_bytes, "changed_ns": changed, "fingerprint": fingerprint}
