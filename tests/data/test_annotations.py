"""Annotation files: what is understood, what is repaired and told, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.data import AnnotationError, read_annotations
from re2tal.data.annotations import find_class_names, read_ids, select_subset


def _write(folder: Path, content: Any) -> Path:
    path = folder / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _one(folder: Path, annotations: Any, **entry: Any) -> Path:
    """A file of one video of 10 s."""
    video = {"subset": "training", "duration": 10.0, "annotations": annotations} | entry
    return _write(folder, {"database": {"a": video}})


def _row(start: Any, end: Any, label: Any = "run") -> dict[str, Any]:
    return {"segment": [start, end], "label": label}


def test_a_video_and_its_actions_are_read(tmp_path: Path) -> None:
    path = _one(tmp_path, [_row(1, 2.5), _row(3, 4, "jump")], frame=250)
    found = read_annotations(path)
    (video,) = found.videos
    assert (video.video_id, video.subset, video.duration_seconds, video.num_frames) == ("a", "training", 10.0, 250)
    assert [(action.start_seconds, action.end_seconds, action.label) for action in video.actions] == [
        (1.0, 2.5, "run"),
        (3.0, 4.0, "jump"),
    ]
    assert found.problems == ()


def test_a_video_may_lack_frame_count_and_annotations(tmp_path: Path) -> None:
    path = _write(tmp_path, {"database": {"a": {"subset": "test", "duration": 3}}})
    (video,) = read_annotations(path).videos
    assert video.num_frames is None and video.actions == ()


def test_ambiguous_actions_are_left_out_silently(tmp_path: Path) -> None:
    found = read_annotations(_one(tmp_path, [_row(1, 2, "Ambiguous"), _row(3, 4)]))
    assert [action.label for action in found.videos[0].actions] == ["run"]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("row", "kept", "told"),
    [
        (_row(8, 12), (8.0, 10.0), "'run' from 8 to 12 s reaches past the 10 s; clamped"),
        (_row(-1, 2), (0.0, 2.0), "'run' from -1 to 2 s reaches past the 10 s; clamped"),
        (_row(8, 10.0005), (8.0, 10.0), None),
        (_row(11, 12), None, "'run' from 11 to 12 s lies outside the 10 s; left out"),
        (_row(-3, -1), None, "'run' from -3 to -1 s lies outside the 10 s; left out"),
        (_row(4, 4), None, "'run' from 4 to 4 s has no length; left out (data.point_seconds trains on point events)"),
        (_row(5, 4), None, "'run' from 5 to 4 s has no length; left out"),
    ],
)
def test_actions_that_do_not_fit_the_video_are_repaired_and_told(
    tmp_path: Path, row: dict[str, Any], kept: tuple[float, float] | None, told: str | None
) -> None:
    path = _one(tmp_path, [row])
    found = read_annotations(path)
    spans = [(action.start_seconds, action.end_seconds) for action in found.videos[0].actions]
    assert spans == ([] if kept is None else [kept])
    assert list(map(str, found.problems)) == ([] if told is None else [f"{path}, video 'a': {told}"])


def test_point_events_become_segments_around_them_inside_the_video_if_that_is_wished(tmp_path: Path) -> None:
    rows = [_row(4, 4), _row(0, 0), _row(10, 10), _row(10.005, 10.005, "late"), _row(1, 3), _row(11, 11), _row(-1, -1)]
    found = read_annotations(_one(tmp_path, rows), point_seconds=1.0)
    spans = [(action.start_seconds, action.end_seconds) for action in found.videos[0].actions]
    assert spans == [(3.5, 4.5), (0.0, 0.5), (9.5, 10.0), (9.505, 10.0), (1.0, 3.0)]
    assert [problem.kind for problem in found.problems] == ["outside", "outside"]


def test_an_action_annotated_twice_is_used_once_and_told(tmp_path: Path) -> None:
    found = read_annotations(_one(tmp_path, [_row(1, 2), _row(1.0004, 2), _row(1, 2, "jump"), _row(1, 2.1)]))
    spans = [(action.start_seconds, action.end_seconds, action.label) for action in found.videos[0].actions]
    assert spans == [(1.0, 2.0, "run"), (1.0, 2.0, "jump"), (1.0, 2.1, "run")]
    (problem,) = found.problems
    assert problem.kind == "annotated twice" and "annotated twice; used once" in str(problem)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no annotation file at .*absent.json; set data.annotations"):
        read_annotations(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "not a readable JSON"),
        ([], "must hold .*database.*got \\[\\].*ActivityNet's layout"),
        ({"taxonomy": []}, "must hold .*database.*keys \\['taxonomy'\\]"),
        ({"database": {"a": []}}, "video 'a': must be an object"),
        ({"database": {"a": {"duration": 3}}}, "video 'a': \"subset\" must be text.*got None"),
        ({"database": {"a": {"subset": "training"}}}, '"duration" must be the length in seconds, above 0, got None'),
        ({"database": {"a": {"subset": "training", "duration": 0}}}, "above 0, got 0"),
        ('{"database": {"a": {"subset": "training", "duration": NaN}}}', "above 0, got nan"),
        ({"database": {"a": {"subset": "t", "duration": 3, "frame": 2.5}}}, "whole number, got 2.5"),
        ({"database": {"a": {"subset": "t", "duration": 3, "frame": 0}}}, "number of frames, a whole number, got 0"),
        ({"database": {"a": {"subset": "t", "duration": 3, "annotations": 1}}}, '"annotations" must be a list, got 1'),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        read_annotations(_write(tmp_path, content))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 2], 'must have a "label"'),
        ({"segment": [1, 2]}, 'must have a "label"'),
        (_row(1, 2, 7), 'must have a "label"'),
        ({"label": "run"}, "'run': \"segment\" must be \\[start, end\\] in seconds, got None"),
        ({"label": "run", "segment": [1]}, "got \\[1\\]"),
        (_row("1", 2), "got \\['1', 2\\]"),
        (_row(1, float("inf")), "got \\[1, inf\\]"),
        (_row(True, 2), "got \\[True, 2\\]"),
    ],
)
def test_entries_that_cannot_be_understood_are_refused(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(AnnotationError, match=f"video 'a'.*{message}"):
        read_annotations(_one(tmp_path, [row]))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(AnnotationError, match="not a readable JSON"):
        read_annotations(path)


def _subsets(folder: Path) -> Path:
    names = {"a": "training", "b": "validation", "c": "Validation"}
    return _write(folder, {"database": {key: {"subset": name, "duration": 1} for key, name in names.items()}})


def test_a_subset_may_have_several_names(tmp_path: Path) -> None:
    annotations = read_annotations(_subsets(tmp_path))
    assert [video.video_id for video in select_subset(annotations, "validation")] == ["b"]
    assert [video.video_id for video in select_subset(annotations, ("training", "Validation"))] == ["a", "c"]


def test_an_unknown_subset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="subset 'testing'; it has 'Validation', 'training', 'validation'"):
        select_subset(read_annotations(_subsets(tmp_path)), "testing")


def test_classes_are_the_sorted_labels_or_those_of_the_list(tmp_path: Path) -> None:
    annotations = read_annotations(_one(tmp_path, [_row(1, 2, "run"), _row(1, 2, "jump")]))
    assert find_class_names(annotations, classes=None) == ("jump", "run")
    classes = tmp_path / "classes.txt"
    classes.write_text("run\nswim\njump\n\n")
    assert find_class_names(annotations, classes=classes) == ("run", "swim", "jump")


def test_a_class_list_beside_the_annotations_gives_the_order(tmp_path: Path) -> None:
    path = _one(tmp_path, [_row(1, 2, "run"), _row(1, 2, "jump")])
    (tmp_path / "category_idx.txt").write_text("run\njump\n")
    assert find_class_names(read_annotations(path)) == ("run", "jump")


def test_a_label_that_the_class_list_lacks_is_refused(tmp_path: Path) -> None:
    annotations = read_annotations(_one(tmp_path, [_row(1, 2, "runing")]))
    classes = tmp_path / "classes.txt"
    classes.write_text("jump\nrunning\n")
    with pytest.raises(
        AnnotationError, match="video 'a': label 'runing' is not in .*did you mean 'running'.*ignore_labels"
    ):
        find_class_names(annotations, classes=classes)


@pytest.mark.parametrize("content", ["run\njump\nrun\n", ""])
def test_a_class_list_must_name_each_class_once(tmp_path: Path, content: str) -> None:
    annotations = read_annotations(_one(tmp_path, []))
    classes = tmp_path / "classes.txt"
    classes.write_text(content)
    with pytest.raises(AnnotationError, match="must name every class once"):
        find_class_names(annotations, classes=classes)


def test_a_missing_class_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no class list at .*classes.txt; set data.classes"):
        find_class_names(read_annotations(_one(tmp_path, [])), classes=tmp_path / "classes.txt")


def test_ids_come_from_a_file_or_a_tuple(tmp_path: Path) -> None:
    path = tmp_path / "missing.txt"
    path.write_text("a\n b \n\n")
    assert read_ids(path) == {"a", "b"}
    assert read_ids(("c",)) == {"c"}
    assert read_ids(None) == frozenset()
    with pytest.raises(AnnotationError, match="no list of missing videos at"):
        read_ids(tmp_path / "absent.txt")
