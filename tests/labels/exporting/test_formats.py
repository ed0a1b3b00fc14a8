"""What each of the other formats keeps, by what their programs' documentation and code say."""

import csv
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from praatio import textgrid

from re2tal.labels.exporting import ExportError
from tests.labels.exporting.support import export, write_annotations, write_detections
from tests.labels.support import bring_in, segments_of

ROWS = {
    "a": [(1.0, 4.0, "Run", 0.9), (2.0, 3.0, "Run", 0.8), (5.0, 5.0, "Jump", 0.7)],
    "day 1/b": [(0.5, 1.0, 'say "<hi>"', 0.5)],
    "ü & c": [],
}


def from_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_via_has_a_row_for_each_class_and_opens_files_below_one_prefix(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "via3", tmp_path / "via.json", videos=videos)
    content = from_json(tmp_path / "via.json")
    label, score = content["attribute"].values()
    assert (label["anchor_id"], label["type"], label["options"]) == (
        "FILE1_Z2_XY0", 4, {"1": "Jump", "2": "Run", "3": 'say "<hi>"'}
    )  # fmt: skip
    assert score["aname"] == "score"
    prefix = content["config"]["file"]["loc_prefix"]["3"]
    addresses = [prefix + file["src"] for file in content["file"].values()]
    assert [unquote(address.removeprefix("file://")) for address in addresses] == [
        str(videos.resolve() / f"{name}.mp4") for name in ROWS
    ]
    assert all(len(item["z"]) == 2 and item["z"][0] < item["z"][1] for item in content["metadata"].values())
    assert [item["av"].get("2") for item in content["metadata"].values()] == ["0.9000", "0.8000", "0.7000", "0.5000"]
    # Score and annotator are no part of the label.
    assert segments_of(bring_in(tmp_path / "via.json", videos=videos))["day 1/b"] == [(0.5, 1.0, 'say "<hi>"')]


def test_label_studio_gets_predictions_and_the_interface_that_they_fit(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "label-studio", tmp_path / "out", videos=videos)
    first, second, third = from_json(tmp_path / "out/tasks.json")
    assert first["data"] == {"video": "/data/local-files/?d=a.mp4", "fps": 10.0, "id": "a"}
    assert second["data"]["video"] == "/data/local-files/?d=day%201/b.mp4"
    (prediction,) = first["predictions"]
    assert [region["value"] for region in prediction["result"]] == [
        {"ranges": [{"start": 11, "end": 40}], "timelinelabels": ["Run"]},
        {"ranges": [{"start": 21, "end": 30}], "timelinelabels": ["Run"]},
        {"ranges": [{"start": 51, "end": 51}], "timelinelabels": ["Jump"]},
    ]
    assert [region["score"] for region in prediction["result"]] == [0.9, 0.8, 0.7]
    assert "annotations" not in first and third["predictions"] == []
    interface = ElementTree.parse(tmp_path / "out/tasks.xml").getroot()
    names = {element.get("name"): element for element in interface}
    for region in prediction["result"]:
        assert names[region["from_name"]].tag == "TimelineLabels" and names[region["to_name"]].tag == "Video"
    assert [label.get("value") for label in interface.iter("Label")] == ["Jump", "Run", 'say "<hi>"']
    assert names["video"].get("frameRate") == "$fps"


def test_label_studio_keeps_annotators_apart(tmp_path: Path) -> None:
    rows = [{"segment": [0, 1], "label": "run", "annotator": name} for name in ("anna", "anna", "bo")]
    rows += [{"segment": [0, 1], "label": "run", "score": 0.1}]
    database = {"a": {"subset": "training", "duration": 12, "fps": 25, "annotations": rows}}
    (tmp_path / "labels.json").write_text(json.dumps({"database": database}))
    export(tmp_path / "labels.json", "label-studio", tmp_path / "tasks.json")
    (task,) = from_json(tmp_path / "tasks.json")
    assert [len(annotation["result"]) for annotation in task["annotations"]] == [2, 1, 1]  # whatever the score
    assert task["annotations"][0]["result"][0]["meta"] == {"text": ["annotator anna"]}
    assert "predictions" not in task and task["annotations"][2]["result"][0]["score"] == 0.1


def test_frames_need_a_rate(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": [(0, 1, "run")], "b": []})
    with pytest.raises(ExportError, match="rate of video 'a' is not known.*--videos.*--fps"):
        export(source, "label-studio", tmp_path / "out")
    report = export(source, "label-studio", tmp_path / "out", fps=24.0)
    assert report.num_labels == 1 and from_json(tmp_path / "out/tasks.json")[0]["data"]["fps"] == 24.0


def test_praat_reads_tiers_without_gaps_and_points(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "textgrid", tmp_path / "out", videos=videos)
    grid = textgrid.openTextgrid(str(tmp_path / "out/a.TextGrid"), includeEmptyIntervals=True)
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, 12)
    assert grid.tierNames == ("Jump points", "Run", "Run 2", 'say "<hi>"')
    assert [tuple(entry) for entry in grid.getTier("Run").entries] == [(0, 1, ""), (1, 4, "Run"), (4, 12, "")]
    assert [tuple(entry) for entry in grid.getTier("Jump points").entries] == [(5, "Jump")]
    empty = textgrid.openTextgrid(str(tmp_path / "out/ü & c.TextGrid"), includeEmptyIntervals=True)
    assert [len(tier.entries) for tier in empty.tiers] == [1, 1, 1]


def test_without_lengths_and_labels_a_textgrid_still_has_a_tier(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": []})
    export(source, "textgrid", tmp_path / "out")
    assert textgrid.openTextgrid(str(tmp_path / "out/a.TextGrid"), includeEmptyIntervals=True).tierNames == ("labels",)


def test_subtitles_hold_no_tags_and_last_at_least_a_millisecond(tmp_path: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "srt", tmp_path / "srt")
    export(source, "vtt", tmp_path / "vtt")
    assert (tmp_path / "srt/day 1/b.srt").read_text() == '1\n00:00:00,500 --> 00:00:01,000\nsay "‹hi›"\n'
    assert (tmp_path / "vtt/day 1/b.vtt").read_text() == (
        'WEBVTT\n\nscore 0.5000\n00:00:00.500 --> 00:00:01.000\nsay "&lt;hi&gt;"\n'
    )
    assert "00:00:05,000 --> 00:00:05,001" in (tmp_path / "srt/a.srt").read_text()
    assert (tmp_path / "srt/ü & c.srt").read_text() == "" and (tmp_path / "vtt/ü & c.vtt").read_text() == "WEBVTT\n"


def test_audacity_keeps_points(tmp_path: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "audacity", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text().splitlines()[-1] == "5.000000\t5.000000\tJump"


def test_the_table_has_the_columns_that_there_is_something_for(tmp_path: Path) -> None:
    scored = write_detections(tmp_path / "detections.json", {"=a": [(1.0, 2.5, "run", 0.5)]})
    named = write_annotations(tmp_path / "labels.json", {"a": [(1.0, 2.5, "run")]}, annotator="anna")
    plain = write_annotations(tmp_path / "plain.json", {"a": [(1.0, 2.5, "run")]})
    rows = []
    for source in (scored, named, plain):
        export(source, "csv", tmp_path / f"{source.stem}.csv")
        rows += list(csv.reader((tmp_path / f"{source.stem}.csv").read_text().splitlines()))
    header = ["video", "start_seconds", "end_seconds", "label"]
    assert rows == [
        [*header, "score"], ["'=a", "1.000", "2.500", "run", "0.5000"],
        [*header, "annotator"], ["a", "1.000", "2.500", "run", "anna"],
        header, ["a", "1.000", "2.500", "run"],
    ]  # fmt: skip


GAME = "england_epl/2014-2015/2015-05-17 - 18-00 Manchester United 1 - 1 Arsenal"


@pytest.mark.parametrize(("point", "position"), [("start", 3725000), ("middle", 3726500), ("end", 3728000)])
def test_soccernet_has_both_halves_of_a_game_in_one_file(tmp_path: Path, point: str, position: int) -> None:
    rows = {
        f"{GAME}/2_720p": [(3725.0, 3728.0, "Foul", 0.75)],
        f"{GAME}/1_720p": [(31.5, 31.5, "Goal", 0.5)],
        "cup": [],
    }
    source = write_detections(tmp_path / "detections.json", rows)
    export(source, "soccernet", tmp_path / "out", point=point)
    content = from_json(tmp_path / "out" / GAME / "results_spotting.json")
    assert content["UrlLocal"] == GAME
    goal, foul = content["predictions"]
    assert goal == {
        "gameTime": "1 - 00:31", "label": "Goal", "position": "31500", "half": "1", "confidence": "0.5"
    }  # fmt: skip
    assert (foul["half"], foul["position"]) == ("2", str(position))
    # As the package SoccerNet reads them.
    assert int(goal["gameTime"][0]) == 1 and int(goal["gameTime"][-5:-3]) == 0 and int(goal["gameTime"][-2:]) == 31
    assert from_json(tmp_path / "out/cup/results_spotting.json") == {"UrlLocal": "cup", "predictions": []}


def test_annotations_become_soccernet_labels(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {f"{GAME}/1_224p": [(61.0, 61.0, "Goal")]})
    export(source, "soccernet", tmp_path / "out")
    assert from_json(tmp_path / "out" / GAME / "Labels-v2.json")["annotations"] == [
        {
            "gameTime": "1 - 01:01", "label": "Goal", "position": "61000", "team": "not applicable",
            "visibility": "visible",
        }
    ]  # fmt: skip
