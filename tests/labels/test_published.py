"""Published data sets: the layouts, and the real files where they are at hand."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from re2tal.labels import SourceError, read_class_names, videos
from tests.labels.support import bring_in, read, reasons, segments_of


def test_real_multithumos(data: Path) -> None:
    """Figures counted from the file by hand: 413 videos, 38,690 annotations of classes 1 to 65."""
    reading = read(data / "annotations/other/multithumos.json")
    assert reading.format == "multithumos" and not reading.problems
    assert len(reading.records) == 38_690 and len(reading.listed) == 413
    assert Counter(reading.listed.values()) == {"training": 200, "testing": 213}
    labels = {record.fields["label"] for record in reading.records}
    assert len(labels) == 65 and "class 65" in labels
    assert reading.notes == [
        f"{data}/annotations/other/multithumos.json numbers its classes; give their names with --classes"
    ]


def test_real_charades(data: Path) -> None:
    """9,848 videos, 66,500 annotations (as the paper says) of the classes c000 to c156, 223 videos without any."""
    reading = read(data / "annotations/other/charades.json")
    assert reading.format == "charades" and not reading.problems
    assert len(reading.records) == 66_500 and len(reading.listed) == 9_848
    assert Counter(reading.listed.values()) == {"training": 7_985, "testing": 1_863}
    assert {record.fields["label"] for record in reading.records} == {f"c{number:03d}" for number in range(157)}
    annotated = {record.media[0].name for record in reading.records}
    assert len(reading.listed.keys() - annotated) == 223


def test_real_multithumos_is_cleaned_as_its_own_durations_say(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With videos as long as the file says: 60 annotations begin past the end, 5 end there, 7 have no length."""
    path = data / "annotations/other/multithumos.json"
    durations = {name: entry["duration"] for name, entry in json.loads(path.read_text()).items()}
    for name in durations:
        (tmp_path / f"{name}.mp4").touch()

    def probe(file: Path) -> Any:
        seconds = durations[file.stem]
        return SimpleNamespace(
            duration_seconds=seconds, num_frames=round(30 * seconds), fps=30.0, width=320, height=180
        )

    monkeypatch.setattr(videos, "probe", probe)
    imported = bring_in(path, videos=tmp_path)
    found = reasons(imported)
    duplicates = found.pop("duplicate", 0)
    assert found == {"outside the video": 60, "clipped to the video": 5, "end not after start": 7}
    assert imported.report.num_segments == 38_690 - 60 - 7 - duplicates
    assert imported.report.videos == {"testing": 213, "training": 200}
    assert not imported.report.hints


def test_real_thumos_text(data: Path) -> None:
    folder = data / "annotations/thumos14"
    reading = read(folder / "TH14_Temporal_annotations_test.zip")
    assert reading.format == "thumos" and not reading.problems
    assert len(reading.listed) == 213 and set(reading.listed.values()) == {"testing"}
    assert len({record.fields["label"] for record in reading.records}) == 21  # with Ambiguous
    reading = read(folder / "TH14_Temporal_annotations_validation.zip")
    assert len(reading.listed) == 200 and set(reading.listed.values()) == {"training"}


def test_thumos_lines_that_cannot_be_read_are_told(tmp_path: Path, clips: Path) -> None:
    (tmp_path / "Run_val.txt").write_text("a  1.0 2.0\n\na 3.0\nb x 2.0\n")
    (tmp_path / "Jump_val.txt").write_text("b 4 5\n")
    (tmp_path / "readme.txt").write_text("These are annotations.\n")
    imported = bring_in(tmp_path, videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "Run")], "b": [(4.0, 5.0, "Jump")]}
    assert reasons(imported) == {"incomplete entry": 1, "unparsable time": 1}
    assert imported.report.problems[0].where.endswith("Run_val.txt, line 3")
    assert {entry["subset"] for entry in imported.database.values()} == {"validation"}


def test_multithumos_text_has_a_file_for_each_class(tmp_path: Path) -> None:
    (tmp_path / "Run.txt").write_text("video_validation_0000051 1.0 2.0\nvideo_test_0000004 1.0 2.0\n")
    (tmp_path / "class_list.txt").write_text("1 Run\n2 Jump\n")
    reading = read(tmp_path)
    assert (reading.format, [record.fields["label"] for record in reading.records]) == ("multithumos", ["Run", "Run"])
    assert [record.subset for record in reading.records] == ["training", "testing"]


def test_damaged_archives_and_folders_without_annotations(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("readme.md", "nothing")
    with pytest.raises(SourceError, match="archive without text files"):
        read(tmp_path / "x.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no annotation files; known endings are .csv"):
        read(tmp_path / "empty")


def test_activitynet_entries_that_cannot_be_read_are_told(tmp_path: Path, clips: Path) -> None:
    def entry(*annotations: Any) -> dict[str, Any]:
        return {"subset": "train", "duration": 1.0, "annotations": list(annotations)}

    database = {
        "a": entry({"segment": [1, 2], "label": "run"}, {"segment": [1]}, {"label": "run"}, 7),
        "b": entry({"segment": [1, None], "label": "run"}, {"segment": [True, 2], "label": "run"}),
        "c": "nothing",
        "d": entry({"segment": [1, 2]}),
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"database": database}))
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")], "b": [], "d": []}
    # A label is a field like any other, so the annotation without one is found when labels are made.
    assert reasons(imported) == {"incomplete entry": 4, "unparsable time": 2, "empty label": 1}


def test_ids_of_youtube_keep_their_files(tmp_path: Path, clips: Path) -> None:
    """The reader of annotations knows such ids without v_."""
    path, folder = tmp_path / "x.json", tmp_path / "videos"
    folder.mkdir()
    (folder / "v_QOlSCBRmfWY.mp4").write_bytes((clips / "a.mp4").read_bytes())
    rows = [{"segment": [1, 2], "label": "run"}]
    path.write_text(json.dumps({"database": {"QOlSCBRmfWY": {"subset": "training", "annotations": rows}}}))
    imported = bring_in(path, videos=folder)
    assert (imported.video_pattern, list(imported.database)) == ("v_{id}.mp4", ["QOlSCBRmfWY"])


def test_lists_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("c000 Holding some clothes\n\nc001 Putting clothes somewhere\n")
    assert read_class_names(path) == {0: "Holding some clothes", 1: "Putting clothes somewhere"}
    content = {"x": {"subset": "training", "duration": 5.0, "actions": [[1, 1.0, 2.0], [2, 1.0, 2.0], ["x", 1, 2]]}}
    (tmp_path / "x.json").write_text(json.dumps(content))
    reading = read(tmp_path / "x.json", class_names=read_class_names(path))
    assert [record.fields["label"] for record in reading.records] == ["Putting clothes somewhere", "c002"]
    assert [problem.reason for problem in reading.problems] == ["incomplete entry"]
    for text, message in (("Run\n", "line 1 is not a number"), ("1 a\n1 b\n", "names a number again"), ("", "empty")):
        path.write_text(text)
        with pytest.raises(SourceError, match=message):
            read_class_names(path)
