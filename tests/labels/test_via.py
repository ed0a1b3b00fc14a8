import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.labels import SourceError
from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import via_project

SEGMENTS = {"a": [(1.0, 2.0, "run"), (3.0, 4.0, "sit")]}


def write(folder: Path, content: Any) -> Path:
    path = folder / "via.json"
    path.write_text(json.dumps(content))
    return path


def test_frames_regions_and_entries_without_file_are_told(tmp_path: Path, clips: Path) -> None:
    content = via_project(SEGMENTS)
    content["metadata"] |= {
        "frame": {"vid": "1", "flg": 0, "z": [5.0], "xy": [], "av": {"1": "0"}},
        "box": {"vid": "1", "flg": 0, "z": [5.0], "xy": [2, 10, 20, 50, 80], "av": {"1": "0"}},
        "lost": {"vid": "9", "flg": 0, "z": [5.0, 6.0], "xy": [], "av": {"1": "0"}},
        "three": {"vid": "1", "flg": 0, "z": [5.0, 6.0, 7.0], "xy": [], "av": {"1": "0"}},
        "text": {"vid": "1", "flg": 0, "z": ["5", "6"], "xy": [], "av": {"1": "0"}},
        "unlabelled": {"vid": "1", "flg": 0, "z": [5.0, 6.0], "xy": [], "av": {}},
        "whole": {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {"1": "0"}},
        "odd": 3,
    }
    imported = bring_in(write(tmp_path, content), videos=clips)
    assert segments_of(imported) == SEGMENTS
    assert reasons(imported) == {"incomplete entry": 6, "point event": 1, "empty label": 1}


def test_ticked_boxes_are_labels_of_their_own_and_texts_stay(tmp_path: Path, clips: Path) -> None:
    content = via_project(SEGMENTS)
    content["attribute"]["1"]["type"] = 2
    content["attribute"]["2"] = {"aname": "Who", "anchor_id": "FILE1_Z2_XY0", "type": 1, "options": {}}
    content["metadata"]["1_0"]["av"] = {"1": "0,1", "2": "Ann"}
    path = write(tmp_path, content)
    assert segments_of(bring_in(path, videos=clips, label=("Action",)))["a"] == [
        (1.0, 2.0, "run"), (1.0, 2.0, "sit"), (3.0, 4.0, "sit")
    ]  # fmt: skip
    assert [label for _, _, label in segments_of(bring_in(path, videos=clips))["a"]] == ["run Ann", "sit Ann", "sit"]


def test_an_older_export_names_attributes_only(tmp_path: Path, clips: Path) -> None:
    path = tmp_path / "via.csv"
    path.write_text(
        '# Exported using VGG Image Annotator\n# ATTRIBUTES = {"1":"Action"}\n'
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
        '"1_a","[""a.mp4""]",0,"[1.5,2.5]","[]","{""1"":""run""}"\n'
        '"1_b","oops",0,"[1.5,2.5]","[]","{""1"":""run""}"\n'
    )
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(1.5, 2.5, "run")]}
    assert reasons(imported) == {"incomplete entry": 1}
    assert "line 5" in imported.report.problems[0].where


def test_what_is_no_file_of_via(tmp_path: Path) -> None:
    path = tmp_path / "via.csv"
    path.write_text("# Exported using VGG Image Annotator\n1,2,3\n")
    with pytest.raises(SourceError, match="CSV_HEADER"):
        read(path)
    with pytest.raises(SourceError, match="no project of VIA 3"):
        read(write(tmp_path, {"attribute": [], "file": {}, "view": {}, "metadata": {}}))
