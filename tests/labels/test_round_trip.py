"""What the package writes as other programs do, it reads back; and the formats are told apart by their content."""

import json
from pathlib import Path

import pytest

from re2tal.data.annotations import read_annotations
from re2tal.labels import read_class_names, write_annotations
from tests.labels.frame_writers import BY_FRAME
from tests.labels.program_writers import EXACT
from tests.labels.support import bring_in, reasons, segments_of
from tests.labels.writers import FORMATS

ALL = {**FORMATS, **EXACT}

SEGMENTS = {
    "a": [(0.5, 2.0, "Run"), (1.25, 3.5, "Jump"), (4.0, 5.001, "Run")],
    "b": [(0.0, 12.0, "Jump")],
    "d": [(7.777, 9.0, "Run"), (8.0, 10.5, "Run")],
}


ON_FRAMES = {
    "a": [(0.5, 2.5, "Run"), (3.5, 5.5, "Jump"), (5.5, 6.5, "Run")],
    "b": [(1.5, 3.5, "Jump"), (7.5, 8.5, "Run")],
}
"""Segments of half a second, one at a time."""


def options_of(folder: Path) -> dict[str, object]:
    classes = folder / "classes.txt"
    return {"class_names": read_class_names(classes)} if classes.exists() else {}


@pytest.mark.parametrize("name", ALL)
def test_segments_come_back_and_the_format_is_recognised(name: str, clips: Path, tmp_path: Path) -> None:
    format_, write = ALL[name]
    path = write(tmp_path, SEGMENTS)
    imported = bring_in(path, videos=clips, reading=options_of(tmp_path))
    assert set(imported.report.formats) == {format_}
    assert segments_of(imported) == {video: sorted(listed) for video, listed in SEGMENTS.items()}
    assert not imported.report.problems and imported.report.num_dropped == 0


@pytest.mark.parametrize("name", BY_FRAME)
def test_segments_come_back_from_what_is_told_frame_by_frame(name: str, clips: Path, tmp_path: Path) -> None:
    format_, write = BY_FRAME[name]
    path = write(tmp_path, ON_FRAMES)
    imported = bring_in(path, videos=clips, reading=options_of(tmp_path))
    assert set(imported.report.formats) == {format_}
    found = segments_of(imported)
    assert found.keys() == ON_FRAMES.keys()
    for video, listed in ON_FRAMES.items():
        assert found[video] == [(pytest.approx(a), pytest.approx(b), label) for a, b, label in sorted(listed)]
    assert not imported.report.problems and not imported.report.hints[1:]


@pytest.mark.parametrize("name", ALL)
def test_real_annotations_come_back_from_every_format(name: str, data: Path, tmp_path: Path) -> None:
    """ucf_mini, 264 segments of 44 videos with real lengths."""
    database = json.loads((data / "ucf_mini/ucf_mini.json").read_text())["database"]
    segments = {
        video: [(*row["segment"], row["label"]) for row in entry["annotations"]] for video, entry in database.items()
    }
    path = ALL[name][1](tmp_path, segments)
    imported = bring_in(path, videos=data / "ucf_mini/videos", reading=options_of(tmp_path))
    found = segments_of(imported)
    assert found.keys() == segments.keys()
    for video, listed in segments.items():
        assert found[video] == [(pytest.approx(a), pytest.approx(b), label) for a, b, label in sorted(listed)]
        entry = imported.database[video]
        assert entry["frame"] == database[video]["frame"] and entry["fps"] == database[video]["fps"]
        assert entry["duration"] == pytest.approx(database[video]["duration"])
    assert not reasons(imported)


def test_the_written_file_is_what_the_package_reads(clips: Path, tmp_path: Path) -> None:
    imported = bring_in(FORMATS["csv"][1](tmp_path, SEGMENTS), videos=clips, split=0.4)
    write_annotations(imported, tmp_path / "out/annotations.json")
    read = read_annotations(tmp_path / "out/annotations.json")
    assert not read.problems
    actions = {
        video.video_id: sorted((action.start_seconds, action.end_seconds, action.label) for action in video.actions)
        for video in read.videos
    }
    assert actions == {video: sorted(listed) for video, listed in SEGMENTS.items()}
    assert {video.subset for video in read.videos} == {"training", "validation"}
    assert {(video.duration_seconds, video.num_frames) for video in read.videos} == {(12.0, 120)}
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    assert (tmp_path / "out" / content["videos"]).resolve() == clips.resolve()
    assert content["video_pattern"] == "{id}.mp4"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["annotations.json"]
