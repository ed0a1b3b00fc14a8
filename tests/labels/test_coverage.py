"""What a file says beside its segments is carried through: what was looked at, who did it and when, scores, points."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import eaf, write_rows


def write(path: Path, database: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"database": database}))
    return path


def entry(**more: Any) -> dict[str, Any]:
    return {"subset": "training", "duration": 12.0, "annotations": [], **more}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ([[2.0, 4.0], [6.0, 8.5]], [[2.0, 4.0], [6.0, 8.5]]),
        ([[6, 8], [2, 4], [3.5, 5]], [[2.0, 5.0], [6.0, 8.0]]),
        ([], []),
        ([[0, 12]], None),
        ([[0, 11.5]], [[0.0, 11.5]]),
        ([[-3, 40]], None),
        ([[4, 2]], []),
    ],
)
def test_stretches_that_are_labelled(told: Any, kept: Any, clips: Path, tmp_path: Path) -> None:
    imported = bring_in(write(tmp_path / "x.json", {"a": entry(labelled=told)}), videos=clips)
    assert imported.database["a"].get("labelled") == kept
    again = bring_in(write(tmp_path / "y.json", dict(imported.database)), videos=clips)
    assert again.database["a"].get("labelled") == kept


@pytest.mark.parametrize("odd", [[1, 2], "x", [[1]], [["a", "b"]], [[1, None]], {"a": 1}])
def test_odd_stretches_are_told(odd: Any, clips: Path, tmp_path: Path) -> None:
    imported = bring_in(write(tmp_path / "x.json", {"a": entry(labelled=odd)}), videos=clips)
    assert reasons(imported) == {"incomplete entry": len(odd) if isinstance(odd, list) and odd == [1, 2] else 1}


def test_two_files_on_one_video_cover_what_either_does(clips: Path, tmp_path: Path) -> None:
    for name, part in (("x", [[0, 3]]), ("y", [[2, 5]])):
        write(tmp_path / f"{name}.json", {"a": entry(labelled=part), "b": entry(labelled=part)})
    write(tmp_path / "z.json", {"b": entry()})
    imported = bring_in(tmp_path, videos=clips)
    assert imported.database["a"]["labelled"] == [[0.0, 5.0]]
    assert "labelled" not in imported.database["b"]


def test_who_and_when_and_scores_are_kept(clips: Path, tmp_path: Path) -> None:
    details = {"annotator": "Ann", "edited": "2026-05-01T10:00:00+00:00", "score": 0.25}
    rows = [
        {"segment": [1, 2], "label": "run", **details},
        {"segment": [3, 4], "label": "run", "annotator": " ", "edited": "yesterday", "score": 7},
        {"segment": [5, 6], "label": "run", "edited": "2026-05-01T10:00:00", "score": "nan"},
    ]
    imported = bring_in(write(tmp_path / "x.json", {"a": entry(annotations=rows)}), videos=clips)
    first, *others = imported.database["a"]["annotations"]
    assert first == {"segment": [1.0, 2.0], "label": "run", **details}
    assert [sorted(other) for other in others] == [["label", "segment"]] * 2


def test_annotators_of_elan_and_of_tables(clips: Path, tmp_path: Path) -> None:
    text = eaf([(1.0, 2.0, "run")], media=["a.mp4"]).replace('PARTICIPANT="m1"', 'PARTICIPANT="m1" ANNOTATOR="Bo"')
    (tmp_path / "a.eaf").write_text(text)
    header = ("video", "start", "end", "label", "annotator", "score")
    write_rows(tmp_path / "x.csv", [header, ("b", 1, 2, "run", "Cy", 3)])
    imported = bring_in(tmp_path, videos=clips)
    rows = {video: item["annotations"] for video, item in imported.database.items()}
    assert rows["a"] == [{"segment": [1.0, 2.0], "label": "run", "annotator": "Bo"}]
    assert rows["b"] == [{"segment": [1.0, 2.0], "label": "run", "annotator": "Cy"}]  # a score may be a rating


def test_points_are_kept_as_points_if_they_get_no_length(clips: Path, tmp_path: Path) -> None:
    rows = [("a", 0, ""), ("a", 3.5, ""), ("a", 12.5, "")]
    path = write_rows(tmp_path / "x.csv", [("video", "start", "end", "label"), *((*row, "goal") for row in rows)])
    imported = bring_in(path, videos=clips, point_seconds=0.0)
    assert segments_of(imported) == {"a": [(0.0, 0.0, "goal"), (3.5, 3.5, "goal")]}
    assert reasons(imported) == {"outside the video": 1}
    again = bring_in(write(tmp_path / "x.json", dict(imported.database)), videos=clips, point_seconds=0.0)
    assert segments_of(again) == segments_of(imported)
    assert reasons(bring_in(path, videos=clips)) == {"point event": 3}


def test_detections_are_taken_from_the_score_on_that_people_are_shown(clips: Path, tmp_path: Path) -> None:
    results = {"a": [{"segment": [n, n + 1], "label": "run", "score": n / 10} for n in range(8)], "b": []}
    (tmp_path / "detections.json").write_text(json.dumps({"version": "x", "results": results, "external_data": {}}))
    imported = bring_in(tmp_path / "detections.json", videos=clips)
    assert [row["score"] for row in imported.database["a"]["annotations"]] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert reasons(imported) == {"not selected": 3} and imported.database["b"]["annotations"] == []
    (example,) = imported.report.as_json()["problems"]
    assert "its score is 0, below 0.3; --min-score sets the lowest" in example["examples"][0]["detail"]
    assert len(segments_of(bring_in(tmp_path / "detections.json", videos=clips, min_score=0.0))["a"]) == 8
    assert len(segments_of(bring_in(tmp_path / "detections.json", videos=clips, min_score=0.65))["a"]) == 1


def test_tables_have_a_lowest_score_only_if_it_is_asked_for(clips: Path, tmp_path: Path) -> None:
    header = ("video", "start_seconds", "end_seconds", "label", "score")
    path = write_rows(
        tmp_path / "x.csv", [header, ("a", 1, 2, "run", 0.1), ("a", 3, 4, "run", 0.9), ("a", 5, 6, "run", "")]
    )
    assert len(segments_of(bring_in(path, videos=clips))["a"]) == 3
    assert segments_of(bring_in(path, videos=clips, min_score=0.5)) == {"a": [(3.0, 4.0, "run"), (5.0, 6.0, "run")]}


UNCLEAR = {
    "a.srt": "1\n00:00:70,000 --> 00:01:80,000\nrun\n",
    "a.vtt": "WEBVTT\n\n00:70.000 --> 00:80.000\nrun\n",
    "a.txt": "1\t99999999999\trun\n",
    "charades.csv": "id,actions,length\na,c001 x 4.0,12\n",
    "numbered.json": '{"a": {"subset": "training", "duration": 12, "actions": [[1, "x", 4]]}}',
    "odd.json": '{"a": {"subset": "training", "duration": 12, "actions": [[1, 4]]}}',
    "activitynet.json": '{"database": {"a": {"annotations": [{"segment": ["x", 4], "label": "run"}]}}}',
    "without.json": '{"database": {"a": {"annotations": [{"label": "run"}]}}}',
    "detections.json": '{"results": {"a": [{"segment": ["x", 4], "label": "run", "score": 0.9}]}}',
    "a.annot": (
        "Bento annotation file\nAnnotation framerate: 10\n\nch----------\n>run\nStart\tStop\tDuration\n1\t9e10\t3\n"
    ),
    "tracks.xml": (
        "<annotations><meta><task><source>a.mp4</source></task></meta>"
        '<image id="x" name="y"><tag label="run"/></image></annotations>'
    ),
    "observer.csv": ("Time_Relative_sf,Observation,Behavior,Event_Type\nx,a,run,State start\n4,a,walk,State\n"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_video_of_which_nothing_is_understood_is_not_taken_for_an_empty_one(
    name: str, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(UNCLEAR[name])
    imported = bring_in(tmp_path / name, videos=clips)
    assert imported.database["a"]["annotations"] == imported.database["a"]["labelled"] == []
    assert any("of 1 videos, such as a.mp4, none could be used" in hint for hint in imported.report.hints)


def test_a_video_that_is_only_a_second_name_is_not_taken_for_an_empty_one(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "b.eaf").write_text(eaf([(1.0, 2.0, "run")], media=["a.mp4"]))
    assert segments_of(bring_in(tmp_path / "b.eaf", videos=clips)) == {"a": [(1.0, 2.0, "run")]}
    assert [media.name for media in read(tmp_path / "b.eaf").records[0].media] == [
        "./a.mp4",
        "file:///C:/Users/me/a.mp4",
        "b",
    ]
