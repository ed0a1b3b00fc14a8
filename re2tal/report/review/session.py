"""A review at work: edits come from any number of pages, one after the other, and go to the disk and to all others."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from re2tal.common.untrusted import shown
from re2tal.report.review.errors import ReviewError
from re2tal.report.review.journal import Journal
from re2tal.report.review.material import Material
from re2tal.report.review.saving import about_file, entry_of, write_corrected
from re2tal.report.review.state import Content, Edit, EditConflict, VideoState, apply_edit, looked_at
from re2tal.video import PlaybackInfo, VideoError, look_at

__all__ = ["ReviewSession"]

_SAVE_AFTER_SECONDS = 0.5
"""Edits that come one after the other are written into the annotation file together; the journal has each at once."""


class ReviewSession:
    """The state of all videos, the journal behind it and the annotation file that comes of it.

    Args:
        material: the input.
        journal: is read, so that the review goes on where it stopped.
        annotations: the file that `material` was read from, for paths in it.
        out: the annotation file to write.
        copies: of videos that browsers do not play, by id.
    """

    def __init__(
        self,
        material: Material,
        journal: Journal,
        *,
        annotations: Path | None,
        out: Path,
        copies: Mapping[str, Path] | None = None,
    ) -> None:
        self.material, self.out = material, out
        self.videos = list(material.files)
        """Ids, in the order of the page."""
        self.classes = list(material.classes)
        self.annotators = list(material.annotators)
        self.copies = dict(copies or {})
        self.save_error: str | None = None
        """Why the annotation file could not be written; None: it could."""
        self._journal = journal
        self._about = about_file(material, annotations=annotations, out=out)
        self._states: dict[str, VideoState] = {}
        self._entries: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._lock = threading.RLock()
        self._changed, self._ended = threading.Event(), threading.Event()
        for number, entry in enumerate(journal.entries, start=2):
            self._replay(entry, number=number)
        if self._entries:  # the last ones may have come just before a crash
            self._changed.set()
        self._writer = threading.Thread(target=self._write_when_changed, daemon=True)
        self._writer.start()

    def state_of(self, video: str) -> VideoState:
        """After all edits so far."""
        return self._states.get(video) or self.material.state_of(video)

    @property
    def journal_id(self) -> str:
        return self._journal.id

    @property
    def num_entries(self) -> int:
        return len(self._entries)

    def changes_after(self, number: int) -> list[dict[str, Any]]:
        """What pages that know the first `number` edits have missed."""
        return self._entries[number:]

    def edit(self, edits: Sequence[Any], *, annotator: str) -> list[dict[str, Any]]:
        """Apply edits in their order; those that are possible are on the disk when this returns.

        Returns:
            For each edit {"key", "ok"} and, where it is not, "why": it was made from something that has changed, or is
            malformed. A key that came before is answered as before.

        Raises:
            OSError: the journal cannot be written; none of the edits has happened.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            before = dict(self._states)
            results: list[dict[str, Any]] = []
            lines: dict[str, dict[str, Any]] = {}  # of the journal, by key
            entries: list[dict[str, Any]] = []
            for value in edits:
                key = str(value.get("key")) if isinstance(value, dict) else ""
                if key in self._keys or key in lines:
                    results.append({"key": key, "ok": True})
                    continue
                try:
                    edit = Edit.model_validate(value)
                    entries.append(self._apply(edit, annotator=annotator, time=time, number=len(entries)))
                except (EditConflict, ValidationError, ReviewError) as error:
                    is_conflict = isinstance(error, EditConflict)
                    results.append({"key": key, "ok": False, "why": _why(error), "conflict": is_conflict})
                    continue
                content = edit.model_dump(mode="json", exclude_defaults=True)
                lines[edit.key] = {"time": time, "annotator": annotator, "edit": content}
                results.append({"key": key, "ok": True})
            if lines:
                try:
                    self._journal.append(list(lines.values()))
                except OSError:
                    self._states = before
                    raise
                self._keys |= lines.keys()
                self._entries += entries
                self._remember(entries)
                self._changed.set()
            return results

    def _apply(self, edit: Edit, *, annotator: str, time: str, number: int) -> dict[str, Any]:
        """Change the state; returns what pages are told."""
        if not edit.video or (edit.video not in self.material.files and not self._is_known(edit.video)):
            raise ReviewError(f"there is no video {shown(edit.video)}")
        state = apply_edit(self.state_of(edit.video), edit, annotator=annotator, time=time)
        self._states[edit.video] = state
        return {
            "n": len(self._entries) + number + 1,
            "key": edit.key,
            "video": edit.video,
            "annotator": annotator,
            "segments": {change.id: _plain(state.segments.get(change.id)) for change in edit.changes},
            "looked": state.looked,
        }

    def _is_known(self, video: str) -> bool:
        """Of the input, though it has no file here: an earlier review may have had it."""
        return video in self.material.database or video in self.material.rows_of

    def _replay(self, line: Mapping[str, Any], *, number: int) -> None:
        try:
            edit = Edit.model_validate(line["edit"])
            entry = self._apply(edit, annotator=line["annotator"], time=line["time"], number=0)
        except (EditConflict, ValidationError, ReviewError, KeyError, TypeError) as error:
            raise ReviewError(
                f"line {number} of the journal {self._journal.path} does not fit ({_why(error)}); name the same videos "
                "as before, or give another --out"
            ) from None
        self._keys.add(edit.key)
        self._entries.append(entry)
        self._remember([entry])

    def _remember(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Names that came with edits."""
        for entry in entries:
            labels = [segment["label"] for segment in entry["segments"].values() if segment and "label" in segment]
            for known, names in ((self.classes, labels), (self.annotators, [entry["annotator"]])):
                known += [name for name in dict.fromkeys(names) if name not in known]

    def save(self) -> None:
        """Write the annotation file."""
        with self._lock:
            states = dict(self._states)
        database = dict(self.material.database)
        for video, state in states.items():
            if state != self.material.state_of(video):
                database[video] = entry_of(state, entry=database.get(video), info=self.info_of(video))
        write_corrected(self.out, about=self._about, database=database)

    def _write_when_changed(self) -> None:
        while True:
            self._changed.wait()
            if self._ended.wait(_SAVE_AFTER_SECONDS):
                return
            self._changed.clear()
            try:
                self.save()
                self.save_error = None
            except OSError as error:
                self.save_error = f"{self.out} cannot be written ({error.strerror}); the edits are in the journal"

    def close(self) -> None:
        """Write the annotation file a last time."""
        self._ended.set()
        self._changed.set()
        self._writer.join()
        if self._entries:
            self.save()
        self._journal.close()

    def info_of(self, video: str) -> PlaybackInfo | None:
        """What the head of a video's file says; None if it cannot be read or there is none."""
        path = self.material.files.get(video)
        try:
            return None if path is None else _look_at(path)
        except (VideoError, OSError):
            return None

    def problem_of(self, video: str) -> str | None:
        """Why a video cannot be read."""
        path = self.material.files[video]
        try:
            _look_at(path)
        except (VideoError, OSError) as error:
            return str(error)
        return None if path.is_file() else f"{path} is no longer there; put it back and open the video again"

    def row_of(self, video: str, *, least_score: float) -> dict[str, Any]:
        """What the list of videos shows: how much is kept, waits for a decision, and has been looked at."""
        state = self._states.get(video)
        if state is None and video not in self.material.database:
            waiting = int((self.material.scores_of(video) >= least_score).sum())
            return {"kept": 0, "open": waiting, "looked": ()}
        state = state or self.material.state_of(video)
        values = [content.value for content in state.segments.values() if content.value is not None]
        waiting = sum(value.status == "proposed" and (value.score or 0) >= least_score for value in values)
        return {"kept": sum(value.status == "kept" for value in values), "open": waiting, "looked": looked_at(state)}

    def detail_of(self, video: str) -> dict[str, Any]:
        """Everything that the page shows of a video."""
        with self._lock:
            state, number = self.state_of(video), self.num_entries
        info = self.info_of(video)
        known = self.material.seconds_of(video)
        ends = [content.value.end for content in state.segments.values() if content.value is not None]
        seconds = (info and info.duration_seconds) or known or max([*ends, 1.0])
        return {
            "n": number,
            "segments": {name: _plain(content) for name, content in state.segments.items()},
            "looked": state.looked,
            "curves": self.material.curves_of(video),
            "seconds": seconds,
            "fps": info.fps if info is not None else 25.0,
            "codec": None if info is None else f"{info.codec} ({info.pixel_format}) in {info.container.split(',')[0]}",
            "is_copy": video in self.copies,
            "problem": self.problem_of(video),
        }


@lru_cache(maxsize=10_000)
def _look_at(path: Path) -> PlaybackInfo:
    return look_at(path)


def _plain(content: Content | None) -> dict[str, Any] | None:
    """A segment as pages get it: its fields and its revision; None if there is none."""
    if content is None:
        return None
    value = {} if content.value is None else content.value.model_dump(mode="json", exclude_none=True)
    return {**value, "revision": content.revision}


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'edit'}: {first['msg']}"
    return str(error) if isinstance(error, EditConflict | ReviewError) else f"{type(error).__name__}: {error}"
