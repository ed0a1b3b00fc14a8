"""What is known of a video under review, and edits of it: pure functions from a state and an edit to a new state.

Every content of a segment has a revision: the key of the edit that wrote it, "" for what came with the input. An edit
names, for each segment that it changes, the revision that it was made from. Where that is no longer the current one,
somebody has changed the segment meanwhile, and the edit is refused as a whole. Keys are drawn by whoever makes the
edit, so that edits can build on edits that have not been confirmed yet. Taking an edit back restores the former
content with its former revision, so that a chain of edits can be taken back one after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from re2tal.common.labelled import Stretches, without
from re2tal.common.settings import Settings
from re2tal.report.review.ranges import join

__all__ = [
    "FAR",
    "Content",
    "Edit",
    "EditConflict",
    "Look",
    "ReviewSegment",
    "SegmentChange",
    "VideoState",
    "apply_edit",
    "looked_at",
]

FAR = 1e8
"""Seconds that no video reaches; what is looked at up to here is looked at to its end."""

ShortName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Key = Annotated[str, StringConstraints(max_length=64)]
Seconds = Annotated[float, Field(ge=0, le=FAR)]


class ReviewSegment(Settings):
    """What a segment says."""

    start: Seconds
    end: Seconds
    """Equal to `start` for an event without length."""
    label: ShortName
    status: Literal["proposed", "kept", "rejected"]
    """"kept" segments are written as annotations."""
    score: float | None = None
    """Of a detection."""
    source: Key | None = None
    """Id of the annotation of the input that the segment comes from, whose other fields it keeps."""
    annotator: ShortName | None = None
    """Who decided on it last."""
    edited: Key | None = None
    """When, as ISO 8601 in UTC."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> "ReviewSegment":
        if self.start > self.end:
            raise ValueError(f"a segment must not end before it starts, got {self.start} to {self.end}")
        if not self.label.strip():
            raise ValueError("a label must hold more than spaces")
        return self


class SegmentChange(Settings):
    """The new content of one segment."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    base: Key
    """The revision that was changed; "" also for a segment that is new."""
    value: ReviewSegment | None
    """None: there is no such segment any more."""
    revision: Key | None = None
    """Of `value`; None: the key of the edit. Another one only where an edit is taken back."""


class Look(Settings):
    """A stretch that somebody has looked at, or has not."""

    start: Seconds
    end: Seconds
    looked: bool

    @model_validator(mode="after")
    def _has_length(self) -> "Look":
        if not self.start < self.end:
            raise ValueError(f"a stretch must end after it starts, got {self.start} to {self.end}")
        return self


class Edit(Settings):
    """One edit of one video; it happens as a whole or not at all."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Unlike that of any other edit; one that comes twice counts once."""
    video: str
    changes: Annotated[tuple[SegmentChange, ...], Field(max_length=1000)] = ()
    looks: Annotated[tuple[Look, ...], Field(max_length=100_000)] = ()
    takes_back: bool = False
    """The contents are former ones, with their former annotators and times."""

    @model_validator(mode="after")
    def _names_each_segment_once(self) -> "Edit":
        if len({change.id for change in self.changes}) < len(self.changes):
            raise ValueError("an edit may change each segment once")
        return self


class EditConflict(Exception):
    """Somebody else has changed a segment since the edit was made."""

    def __init__(self, segment: str, current: ReviewSegment | None) -> None:
        super().__init__(f"segment {segment} was changed meanwhile")
        self.segment, self.current = segment, current


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a segment says, and since which edit."""

    value: ReviewSegment | None
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class VideoState:
    """All that is known of a video."""

    segments: Mapping[str, Content]
    """By id; removed ones stay, without a value."""
    looked: Stretches = ()
    """Stretches that somebody has looked at."""


_NOTHING = Content(value=None)


def apply_edit(state: VideoState, edit: Edit, *, annotator: str, time: str) -> VideoState:
    """The state after an edit.

    Args:
        state: before the edit; it stays as it is.
        edit: of the same video.
        annotator: who makes the edit.
        time: when, as ISO 8601 in UTC.

    Raises:
        EditConflict: a segment has another revision than the edit was made from.
    """
    segments = dict(state.segments)
    for change in edit.changes:
        before = segments.get(change.id, _NOTHING)
        if before.revision != change.base:
            raise EditConflict(change.id, before.value)
        value = change.value
        if value is not None and not edit.takes_back:
            value = value.model_copy(update={"annotator": annotator, "edited": time})
        after = Content(value=value, revision=edit.key if change.revision is None else change.revision)
        if after == _NOTHING:  # as if it had never been
            segments.pop(change.id, None)
        else:
            segments[change.id] = after
    looked = state.looked
    for look in edit.looks:
        looked = join([*looked, (look.start, look.end)]) if look.looked else without(looked, [(look.start, look.end)])
    return replace(state, segments=segments, looked=looked)


def looked_at(state: VideoState) -> Stretches:
    """The stretches that were marked as looked at, and those of segments that somebody has decided on."""
    values = [content.value for content in state.segments.values()]
    decided = [(value.start, value.end) for value in values if value is not None and value.edited is not None]
    return join([*state.looked, *decided])
