"""Projects keep to what BORIS's own code asks of them (project_functions.py: check_project_integrity, pairing)."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from re2tal.labels.exporting import ExportReport
from tests.labels.exporting.support import export, write_annotations, write_detections

OVERLAPPING = {
    "a": [(1.0, 4.0, "Run", 0.9), (2.0, 3.0, "Run", 0.8), (2.5, 6.0, "Run", 0.7), (4.0, 5.0, "Run", 0.6)],
    "day 1/b": [(0.5, 1.0, "Rear|up", 0.5)],
    "ü & c": [],
}


def project(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="ascii"))


def export_overlapping(tmp_path: Path, videos: Path) -> tuple[dict[str, Any], ExportReport]:
    source = write_detections(tmp_path / "detections.json", OVERLAPPING)
    report = export(source, "boris", tmp_path / "out", videos=videos)
    return project(tmp_path / "out/labels.boris"), report


def paired(content: dict[str, Any], name: str) -> list[tuple[float, float, str, str]]:
    """Start, stop, code and comment, paired as BORIS does: by subject, code and modifier, after a sort by time, subject
    and code."""
    waiting: dict[tuple[str, ...], list[Any]] = {}
    found = []
    for event in sorted(content["observations"][name]["events"], key=lambda event: event[:3]):
        key = tuple(event[1:4])
        if key in waiting:
            start = waiting.pop(key)
            found.append((start[0], event[0], event[2], start[4]))
        else:
            waiting[key] = event
    assert not waiting
    return found


def test_overlapping_actions_of_a_class_survive_boris_pairing(tmp_path: Path, videos: Path) -> None:
    content, report = export_overlapping(tmp_path, videos)
    wanted = [(start, end, label, f"score {score:.4f}") for start, end, label, score in OVERLAPPING["a"]]
    assert sorted(paired(content, "a")) == wanted
    assert report.notes.as_json() == {
        "overlapping actions of a class have subjects such as 'overlap 2', or BORIS would mispair them": 2,
        "classes were renamed, since BORIS allows no | in a code": 1,
    }


def test_a_project_passes_what_boris_checks(tmp_path: Path, videos: Path) -> None:
    content, _ = export_overlapping(tmp_path, videos)
    behaviors = {entry["code"]: entry for entry in content["behaviors_conf"].values()}
    assert sorted(behaviors) == ["Rear/up", "Run"] and content["project_format_version"] == "7.0"
    keys = [entry["key"] for entry in behaviors.values()]
    assert keys == ["r", "u"] and all(entry["color"].startswith("#") for entry in behaviors.values())
    subjects = [entry["name"] for entry in content["subjects_conf"].values()]
    assert subjects == ["overlap 2", "overlap 3"]
    for name, observation in content["observations"].items():
        (media,) = observation["file"]["1"]
        assert (tmp_path / "out" / media).resolve() == (videos / f"{name}.mp4").resolve()
        info = observation["media_info"]
        assert info["length"] == {media: 12.0} and info["fps"] == {media: 10.0}
        assert info["hasVideo"] == {media: True} and info["hasAudio"] == {media: False}
        assert all(one[0] <= other[0] for one, other in pairwise(observation["events"]))
        for _, subject, code, modifier, _, frame in observation["events"]:
            assert code in behaviors and subject in ("", *subjects) and (modifier, frame) == ("", "NA")
    assert list(content["observations"]) == ["a", "day 1/b", "ü & c"]


def test_classes_of_points_are_point_events(tmp_path: Path, videos: Path) -> None:
    segments = {"a": [(3.0, 3.0, "poke"), (1.0, 1.0, "run"), (1.0, 2.0, "run"), (2.0, 2.0, "run")], "ü & c": []}
    source = write_annotations(tmp_path / "labels.json", segments, annotator="anna")
    export(source, "boris", tmp_path / "points.boris", videos=videos)
    content = project(tmp_path / "points.boris")
    kinds = {entry["code"]: entry["type"] for entry in content["behaviors_conf"].values()}
    assert kinds == {"poke": "Point event", "run": "State event"}
    events = defaultdict(list)
    for time, _, code, modifier, comment, _ in content["observations"]["a"]["events"]:
        events[code].append(time)
        assert modifier == "" and comment in ("", "annotator anna")
    assert events == {"poke": [3.0], "run": [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]}


def test_keys_run_out_without_harm(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": [(0, 1, f"class {number:02d}") for number in range(40)]})
    export(source, "boris", tmp_path / "many.boris")
    keys = [entry["key"] for entry in project(tmp_path / "many.boris")["behaviors_conf"].values()]
    assert keys[:3] == ["c", "l", "a"] and keys.count("") == 4 and len(set(keys)) == 37


def test_a_video_without_a_file_is_named_and_its_length_left_for_boris_to_find(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": [(0, 1, "run")]})
    report = export(source, "boris", tmp_path / "x.boris")
    observation = project(tmp_path / "x.boris")["observations"]["a"]
    assert observation["file"]["1"] == ["a"] and observation["media_info"]["length"] == {}
    assert any("whose file is not known" in line and "--videos" in line for line in report.notes.lines())
