"""Edits of a video as pure functions: taken back they leave nothing, made from old content they are refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from re2tal.common.labelled import without
from re2tal.report.review import Content, Edit, EditConflict, ReviewSegment, VideoState, apply_edit
from re2tal.report.review.ranges import inside, join

TIME = "2026-01-02T03:04:05.000Z"
SECONDS = 12

whole_seconds = st.integers(0, SECONDS)
pairs = st.tuples(whole_seconds, whole_seconds).map(sorted)
stretches = pairs.filter(lambda pair: pair[0] < pair[1])
values = st.builds(
    lambda pair, label, status: {"start": pair[0], "end": pair[1], "label": label, "status": status},
    pairs,
    st.sampled_from(["walk", "groom"]),
    st.sampled_from(["proposed", "kept", "rejected"]),
)
bodies = st.fixed_dictionaries(
    {
        "changes": st.dictionaries(st.sampled_from("abcd"), st.none() | values, max_size=3),
        "looks": st.lists(st.tuples(stretches, st.booleans()), max_size=3),
    }
)


def begin() -> VideoState:
    proposal = ReviewSegment(start=1, end=2, label="walk", status="proposed", score=0.5)
    annotation = ReviewSegment(start=4, end=6, label="groom", status="kept", source="a0", annotator="Ben")
    return VideoState(segments={"a": Content(value=proposal), "b": Content(value=annotation)}, looked=((3, 7),))


def edit_of(state: VideoState, body: dict[str, Any], *, key: str) -> Edit:
    changes = [
        {"id": name, "base": revision_of(state, name), "value": value} for name, value in body["changes"].items()
    ]
    looks = [{"start": start, "end": end, "looked": looked} for (start, end), looked in body["looks"]]
    return Edit.model_validate({"key": key, "video": "v", "changes": changes, "looks": looks})


def revision_of(state: VideoState, name: str) -> str:
    return state.segments[name].revision if name in state.segments else ""


def back(state: VideoState, edit: Edit, *, key: str) -> Edit:
    """What leads back to `state` from after `edit`, the way the page draws it up: former contents and revisions."""
    changes = []
    for change in edit.changes:
        content = state.segments.get(change.id, Content(value=None))
        revision = edit.key if change.revision is None else change.revision
        changes.append({"id": change.id, "base": revision, "value": content.value, "revision": content.revision})
    # Every second of the video as it was; the page tells only those that differ.
    looks = [
        {"start": second, "end": second + 1, "looked": bool(inside(state.looked, second, second + 1))}
        for second in range(SECONDS)
    ]
    return Edit.model_validate({"key": key, "video": "v", "changes": changes, "looks": looks, "takes_back": True})


def keys() -> Iterator[str]:
    return (f"key-{number:05d}" for number in range(100_000))


def applied(state: VideoState, edit: Edit, *, annotator: str = "Ada") -> VideoState:
    return apply_edit(state, edit, annotator=annotator, time=TIME)


@settings(deadline=None)
@given(st.lists(bodies, min_size=1, max_size=6))
def test_edits_taken_back_one_after_the_other_leave_nothing(made: list[dict[str, Any]]) -> None:
    names = keys()
    states, edits = [begin()], []
    for body in made:
        edits.append(edit_of(states[-1], body, key=next(names)))
        states.append(applied(states[-1], edits[-1]))
    state = states[-1]
    for before, edit in zip(reversed(states[:-1]), reversed(edits), strict=True):
        state = applied(state, back(before, edit, key=next(names)))
        assert state == before


@settings(deadline=None)
@given(bodies)
def test_an_edit_done_again_is_as_it_was(body: dict[str, Any]) -> None:
    first = begin()
    edit = edit_of(first, body, key="key-first")
    then = applied(first, edit)
    undo = back(first, edit, key="key-undo")
    redo = back(then, undo, key="key-redo")
    assert applied(applied(then, undo), redo) == then


@settings(deadline=None)
@given(bodies, bodies)
def test_of_two_edits_made_from_the_same_content_the_second_is_refused(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    state = begin()
    first, second = edit_of(state, one, key="key-one"), edit_of(state, other, key="key-other")
    then = applied(state, first)
    touched = {change.id for change in first.changes} & {change.id for change in second.changes}
    # Removing what is not there, say, still is an edit: its revision is new.
    if not touched:
        applied(then, second)
        return
    with pytest.raises(EditConflict):
        applied(then, second)


def test_after_an_undo_content_that_was_seen_in_between_is_old() -> None:
    """A revision that counted edits would be the same for both contents."""
    state = begin()
    label = {"start": 1, "end": 2, "label": "groom", "status": "kept"}
    first = edit_of(state, {"changes": {"a": label}, "looks": []}, key="key-first")
    seen = applied(state, first)
    state = applied(seen, back(state, first, key="key-undo"))
    state = applied(state, edit_of(state, {"changes": {"a": {**label, "end": 3}}, "looks": []}, key="key-second"))
    late = edit_of(seen, {"changes": {"a": {**label, "end": 9}}, "looks": []}, key="key-late")
    with pytest.raises(EditConflict):
        applied(state, late)


def test_who_and_when_is_told_and_comes_back_with_the_former_content() -> None:
    state = begin()
    longer = {"start": 4, "end": 7, "label": "groom", "status": "kept", "source": "a0"}
    edit = edit_of(state, {"changes": {"b": longer}, "looks": []}, key="key-first")
    then = applied(state, edit).segments["b"].value
    assert then is not None and (then.annotator, then.edited) == ("Ada", TIME)
    former = applied(applied(state, edit), back(state, edit, key="key-undo"), annotator="Cem").segments["b"].value
    assert former is not None and (former.annotator, former.edited) == ("Ben", None)


def test_a_refused_edit_changes_none_of_its_segments() -> None:
    state = begin()
    new = {"start": 0, "end": 1, "label": "walk", "status": "kept"}
    edit = Edit.model_validate(
        {
            "key": "key-first",
            "video": "v",
            "changes": [{"id": "c", "base": "", "value": new}, {"id": "a", "base": "key-other", "value": new}],
        }
    )
    with pytest.raises(EditConflict) as error:
        applied(state, edit)
    assert error.value.segment == "a" and "c" not in state.segments


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": 3, "end": 2}, "must not end before it starts"),
        ({"start": -1}, "greater than or equal to 0"),
        ({"end": float("nan")}, "finite"),
        ({"end": 1e12}, "less than or equal"),
        ({"label": "  "}, "more than spaces"),
        ({"label": ""}, "at least 1 character"),
        ({"label": "x" * 300}, "at most 200"),
        ({"status": "maybe"}, "'proposed', 'kept' or 'rejected'"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_malformed_segment_is_refused(change: dict[str, Any], said: str) -> None:
    value = {"start": 1, "end": 2, "label": "walk", "status": "kept", **change}
    with pytest.raises(ValidationError, match=said):
        ReviewSegment.model_validate(value)


@settings(deadline=None)
@given(st.lists(stretches), stretches)
def test_ranges_agree_with_single_seconds(given_ranges: list[list[int]], window: list[int]) -> None:
    ranges = join(map(tuple, given_ranges))
    seconds = {second for start, end in given_ranges for second in range(start, end)}
    inner = set(range(*window))

    def seconds_of(some: Any) -> set[int]:
        return {second for start, end in some for second in range(int(start), int(end))}

    assert seconds_of(ranges) == seconds
    assert seconds_of(without(ranges, [window])) == seconds - inner
    assert seconds_of(inside(ranges, *window)) == seconds & inner
    for some in (ranges, without(ranges, [window]), inside(ranges, *window)):
        assert all(one[1] < other[0] for one, other in zip(some, some[1:], strict=False))
