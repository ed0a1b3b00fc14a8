"""From detections and annotations through edits to the annotation file, and again after a restart."""

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re2tal.data.annotations import read_annotations
from re2tal.evaluation import read_ground_truth
from re2tal.report.review import Journal, ReviewError, ReviewSession, read_material
from re2tal.report.review.material import score_curves
from tests.report.review.review_data import database_of, edit, session_of, write_found, write_labels

ROW = {"segment": [1.0, 3.0], "label": "walk"}
LABELS = {
    "m1": {
        "subset": "validation",
        "duration": 20.0,
        "frame": 200,
        "annotations": [{**ROW, "subject": "mouse 1"}, {"segment": [9.0, 5.0], "label": "groom"}],
    },
    "elsewhere": {"subset": "training", "duration": 9.0, "annotations": [ROW], "url": "x"},
}
FOUND = {"m1": [(5.0, 8.0, "groom", 0.9), (12.0, 13.0, "walk", 0.4)], "m2": [(2.0, 4.0, "rear", 0.6)]}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    return {
        "annotations": write_labels(tmp_path / "labels.json", LABELS, version="mine", taxonomy=[1]),
        "detections": write_found(tmp_path / "detections.json", FOUND),
    }


@pytest.fixture
def session(videos: dict[str, Path], sources: dict[str, Path], out: Path) -> ReviewSession:
    """On the labels and the detections; each test closes it."""
    return session_of(videos, out=out, **sources)


def keep(session: ReviewSession, *edits: Any, annotator: str = "Ada") -> None:
    assert all(result["ok"] for result in session.edit(edits, annotator=annotator))


def test_what_is_kept_is_written_with_who_and_when(session: ReviewSession, out: Path) -> None:
    keep(session, edit(session, "m1", {"d0": {"status": "kept"}, "d1": {"status": "rejected"}}))
    keep(session, edit(session, "m1", {"a0": {"end": 3.5}}), annotator="Ben")
    session.close()
    entry = database_of(out)["m1"]
    walk, groom, wrong = sorted(entry["annotations"], key=lambda row: row["segment"])
    walk.pop("edited")
    assert walk == {"segment": [1.0, 3.5], "label": "walk", "subject": "mouse 1", "annotator": "Ben"}
    assert (groom["segment"], groom["label"], groom["score"], groom["annotator"]) == ([5.0, 8.0], "groom", 0.9, "Ada")
    assert groom["edited"].endswith("Z") and "T" in groom["edited"]
    assert wrong == LABELS["m1"]["annotations"][1]  # type: ignore[index]  # no review can show it
    assert (entry["subset"], entry["duration"], entry["frame"]) == ("validation", 20.0, 200)
    assert "labelled" not in entry  # it was looked at from end to end before


def test_entries_that_nobody_touched_stay_as_they_are(session: ReviewSession, out: Path) -> None:
    keep(session, edit(session, "m2", {"d0": {"status": "kept"}}))
    session.close()
    content = json.loads(out.read_text())
    assert content["database"]["m1"] == LABELS["m1"] and content["database"]["elsewhere"] == LABELS["elsewhere"]
    assert (content["version"], content["taxonomy"]) == ("mine", [1])


def test_without_edits_nothing_is_written(videos: dict[str, Path], sources: dict[str, Path], out: Path) -> None:
    session_of(videos, out=out, **sources).close()
    assert not (out).exists()


def test_a_new_video_tells_what_was_looked_at(session: ReviewSession, out: Path) -> None:
    new = {"start": 7.0, "end": 8.0, "label": "dig", "status": "kept"}
    keep(session, edit(session, "m2", {"d0": {"status": "rejected"}, "n1": new}, looks=[(10.0, 12.0, True)]))
    session.close()
    entry = database_of(out)["m2"]
    assert entry["labelled"] == [[2.0, 4.0], [7.0, 8.0], [10.0, 12.0]]
    assert [(row["segment"], row["label"]) for row in entry["annotations"]] == [([7.0, 8.0], "dig")]
    assert entry["subset"] == "training" and entry["duration"] == pytest.approx(20.0)


def test_a_video_that_was_looked_at_to_its_end_is_known_to_be_empty(session: ReviewSession, out: Path) -> None:
    keep(session, edit(session, "m2", looks=[(0.0, 20.0, True)]))
    session.close()
    entry = database_of(out)["m2"]
    assert entry["annotations"] == [] and "labelled" not in entry


def test_labelled_stretches_of_the_input_stay_and_grow(videos: dict[str, Path], tmp_path: Path, out: Path) -> None:
    entry = {"subset": "training", "duration": 20.0, "labelled": [[0, 4]], "annotations": [ROW]}
    labels = write_labels(tmp_path / "labels.json", {"m1": entry})
    session = session_of(videos, out=out, annotations=labels)
    keep(session, edit(session, "m1", looks=[(3.0, 6.0, True), (0.0, 1.0, False)]))
    session.close()
    assert database_of(out)["m1"]["labelled"] == [[1.0, 6.0]]


def test_training_and_evaluation_read_the_file(session: ReviewSession, videos: dict[str, Path], out: Path) -> None:
    keep(session, edit(session, "m1", {"d0": {"status": "kept"}}), edit(session, "m2", {"d0": {"status": "kept"}}))
    session.close()
    read = {video.video_id: video for video in read_annotations(out).videos}
    assert [(action.label, action.start_seconds) for action in read["m2"].actions] == [("rear", 2.0)]
    assert {action.label for action in read["m1"].actions} == {"walk", "groom"}
    assert len(read_ground_truth(out, subset=["training", "validation"]).segments) == 4


def test_it_can_go_on_from_its_own_file(
    session: ReviewSession, videos: dict[str, Path], tmp_path: Path, out: Path
) -> None:
    later = tmp_path / "again.json"
    keep(session, edit(session, "m2", {"d0": {"status": "kept"}}))
    session.close()
    session = session_of(videos, out=later, annotations=out)
    assert session.annotators == ["Ada"]
    (content,) = session.state_of("m2").segments.values()
    assert content.value is not None and (content.value.annotator, content.value.score) == ("Ada", 0.6)
    keep(session, edit(session, "m1", {"a0": {"label": "run"}}), annotator="Ben")
    session.close()
    assert database_of(later)["m2"] == database_of(out)["m2"]


def test_what_reaches_past_the_end_ends_with_the_video(videos: dict[str, Path], tmp_path: Path, out: Path) -> None:
    found = write_found(tmp_path / "detections.json", {"m1": [(18.0, 20.3, "walk", 0.9)]})
    session = session_of(videos, out=out, detections=found)
    keep(session, edit(session, "m1", {"d0": {"status": "kept"}}))
    session.close()
    assert database_of(out)["m1"]["annotations"][0]["segment"] == [18.0, 20.0]


def test_both_halves_of_a_split_keep_the_other_fields(session: ReviewSession, out: Path) -> None:
    later = {"start": 2.0, "end": 3.0, "label": "walk", "status": "kept", "source": "a0"}
    keep(session, edit(session, "m1", {"a0": {"end": 2.0}, "n1": later}))
    session.close()
    rows = [row for row in database_of(out)["m1"]["annotations"] if row["label"] == "walk"]
    assert [(row["segment"], row["subject"]) for row in rows] == [([1.0, 2.0], "mouse 1"), ([2.0, 3.0], "mouse 1")]


def test_the_folder_of_the_videos_is_told_from_where_the_file_lies(videos: dict[str, Path], tmp_path: Path) -> None:
    folder = videos["m1"].parent
    labels = write_labels(tmp_path / "labels.json", {"m1": LABELS["m1"]}, videos=os.path.relpath(folder, tmp_path))
    for place, annotations in ((tmp_path / "deep" / "a.json", labels), (tmp_path / "deeper" / "b.json", None)):
        session = session_of(videos, out=place, annotations=annotations)
        keep(session, edit(session, "m1", looks=[(0.0, 1.0, True)]))
        session.close()
        content = json.loads(place.read_text())
        assert (place.parent / content["videos"]).resolve() == folder.resolve()
    assert content["video_pattern"] == "{id}.mp4"


steps = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2"]),
        st.sampled_from(["a0", "d0", "d1", "n1"]),
        st.sampled_from(["kept", "rejected"]),
        st.integers(10, 15),
        st.booleans(),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=25)
@given(made=steps)
def test_a_replayed_journal_gives_the_same_state(
    videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, made: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    out = folder / "corrected.json"
    found = write_found(folder / "detections.json", FOUND)
    session = session_of(videos, out=out, detections=found)
    for video, name, status, end, looks in made:
        value = {"start": 1.0, "end": float(end), "label": "walk", "status": status}
        keep(session, edit(session, video, {name: value}, looks=[(0.0, end, True)] if looks else []))
    states = {video: session.state_of(video) for video in videos}
    told = session.changes_after(0)
    session.close()
    written = out.read_text() if made else None
    out.unlink(missing_ok=True)
    again = session_of(videos, out=out, detections=found)
    assert {video: again.state_of(video) for video in videos} == states
    assert again.changes_after(0) == told
    again.close()
    assert (out.read_text() if made else None) == written


def test_an_edit_from_old_content_is_told_and_a_repeated_one_counts_once(session: ReviewSession) -> None:
    first = edit(session, "m1", {"d0": {"end": 9.0}}, key="key-first")
    second = edit(session, "m1", {"d0": {"end": 7.0}}, key="key-second")
    assert [result["ok"] for result in session.edit([first, second, first], annotator="Ada")] == [True, False, True]
    (result,) = session.edit([second], annotator="Ben")
    assert not result["ok"] and result["conflict"]
    assert session.num_entries == 1
    content = session.state_of("m1").segments["d0"].value
    assert content is not None and content.end == 9.0
    session.close()


def test_two_annotators_at_once_lose_nothing(session: ReviewSession, out: Path) -> None:

    def work(name: str) -> None:
        for number in range(20):
            value = {"start": number / 2, "end": number / 2 + 0.25, "label": name, "status": "kept"}
            keep(session, edit(session, "m2", {f"{name}-{number}": value}), annotator=name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("Ada", "Ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.close()
    rows = database_of(out)["m2"]["annotations"]
    assert sorted(row["annotator"] for row in rows) == ["Ada"] * 20 + ["Ben"] * 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "k", "video": "nowhere"},
        {"key": "k", "video": "m1", "changes": [{"id": "d0", "base": ""}]},
        {"key": "k", "video": "m1", "changes": "all"},
        {"key": "k", "video": "m1", "looks": [{"start": 4, "end": 2, "looked": True}]},
        {"video": "m1"},
        {"key": ["k"], "video": ["m1"]},
        "edit",
        None,
    ],
)
def test_malformed_edits_are_answered_and_leave_no_line(session: ReviewSession, wrong: Any) -> None:
    (result,) = session.edit([wrong], annotator="Ada")
    assert not result["ok"] and result["why"] and len(result["why"]) < 300
    assert session.num_entries == 0
    session.close()


def test_a_full_disk_undoes_what_was_not_kept(session: ReviewSession, monkeypatch: pytest.MonkeyPatch) -> None:
    before = session.state_of("m1")
    accept = edit(session, "m1", {"d0": {"status": "kept"}})

    def full(self: Journal, entries: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        with pytest.raises(OSError, match="No space"):
            session.edit([accept], annotator="Ada")
    assert session.state_of("m1") == before and session.changes_after(0) == []
    keep(session, accept)
    session.close()


def test_ids_may_be_names_of_files(videos: dict[str, Path], tmp_path: Path) -> None:
    """As other programs call videos: with the ending, without the folder, with YouTube's prefix."""
    files = {"day 1/m1": videos["m1"], "day 1/m2": videos["m2"]}
    found = write_found(tmp_path / "detections.json", {"m1.mp4": FOUND["m1"], "day 1/m2": FOUND["m2"]})
    labels = write_labels(tmp_path / "labels.json", {"m1": LABELS["m1"]})
    material = read_material(files, detections=found, annotations=labels)
    assert list(material.files) == ["m1", "day 1/m2"]
    assert set(material.state_of("m1").segments) == {"a0", "d0", "d1"}
    assert set(material.state_of("day 1/m2").segments) == {"d0"}


def test_ids_of_other_videos_are_told(videos: dict[str, Path], tmp_path: Path) -> None:
    found = write_found(tmp_path / "detections.json", {"x1": FOUND["m1"]})
    with pytest.raises(ReviewError, match=r"no video of .* has 'x1', for example, the videos are called like 'm1'"):
        read_material(videos, detections=found, annotations=None)
    found = write_found(tmp_path / "detections.json", {"x1": FOUND["m1"], **FOUND})
    material = read_material(videos, detections=found, annotations=None)
    assert material.notes == (f"1 of 3 videos of {found} have no file here: x1",)


def test_videos_can_be_added_to_annotations_of_others(videos: dict[str, Path], tmp_path: Path, out: Path) -> None:
    labels = write_labels(tmp_path / "labels.json", {"elsewhere": LABELS["elsewhere"]})
    session = session_of(videos, out=out, annotations=labels)
    assert "1 of 1 videos of" in session.material.notes[0]
    keep(session, edit(session, "m1", {"n1": {"start": 1, "end": 2, "label": "walk", "status": "kept"}}))
    session.close()
    database = database_of(out)
    assert database["elsewhere"] == LABELS["elsewhere"] and len(database["m1"]["annotations"]) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a readable JSON file"),
        ('{"database": {"m1": []}}', "must be an object"),
        ('{"database": {"m1": {"annotations": [{"segment": [1], "label": "walk"}]}}}', "segment.1: Field required"),
        ('{"database": {"m1": {"annotations": [{"segment": ["1", 2], "label": "walk"}]}}}', "valid number"),
        ('{"database": {"m1": {"annotations": [{"segment": [1, 2]}]}}}', "label: Field required"),
        ('{"database": {"m1": {"labelled": [[1, "x"]]}}}', '"labelled"'),
    ],
)
def test_annotations_that_cannot_be_used_are_told(
    videos: dict[str, Path], tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(ReviewError, match=said) as error:
        read_material(videos, detections=None, annotations=tmp_path / "labels.json")
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("label", [" ", "x" * 201, "half a pair \ud800"])
def test_labels_that_no_page_can_show_are_told(videos: dict[str, Path], tmp_path: Path, label: str) -> None:
    found = write_found(tmp_path / "detections.json", {"m1": [(1.0, 2.0, label, 0.5)]})
    with pytest.raises(ReviewError, match="detections.json, label") as error:
        read_material(videos, detections=found, annotations=None)
    assert len(str(error.value)) < 600


def test_suggestions_come_with_the_most_useful_first(videos: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "first.json"
    rows = [
        {"video": "m1", "start": 1, "end": 2, "score": 0.1},
        {"video": "m2.mp4", "start": 3, "end": 4, "score": 0.7, "why": "x"},
    ]
    path.write_text(json.dumps({"suggestions": rows}))
    material = read_material(videos, detections=None, annotations=None, first=path)
    assert [(row.video, row.start) for row in material.suggestions] == [("m2", 3.0), ("m1", 1.0)]
    path.write_text('{"suggestions": [{"video": "m1"}]}')
    with pytest.raises(ReviewError, match="suggestion 1: start: Field required"):
        read_material(videos, detections=None, annotations=None, first=path)
    path.write_text("[]")
    with pytest.raises(ReviewError, match="must hold"):
        read_material(videos, detections=None, annotations=None, first=path)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.sampled_from([0.1, 0.5, 0.9])), max_size=8))
def test_the_curve_is_the_largest_score_at_any_time(rows: list[tuple[int, int, float]]) -> None:
    import numpy as np

    segments = np.array([[start, start + length] for start, length, _ in rows], np.float64).reshape(-1, 2)
    times, values = score_curves(segments, np.array([score for *_, score in rows]))
    assert times == sorted(times) and len(times) == len(values)
    for time in np.arange(0.5, 15):
        expected = max((score for start, length, score in rows if start <= time < start + length), default=0.0)
        assert values[int(np.searchsorted(times, time, side="right")) - 1] == pytest.approx(expected)
