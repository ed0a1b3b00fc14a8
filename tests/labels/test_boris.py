import gzip
from pathlib import Path

import pytest

from re2tal.labels import SourceError, lengths_in
from tests.labels.conftest import make_videos
from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import boris_observation, boris_project, write_rows


def project(folder: Path, *observations: object, points: tuple[str, ...] = ("poke",)) -> Path:
    path = folder / "x.boris"
    named = {f"observation {number}": item for number, item in enumerate(observations)}
    path.write_text(boris_project(named, states=("run", "sit"), points=points))
    return path


def test_starts_and_stops_are_paired_by_subject_and_modifier(tmp_path: Path, clips: Path) -> None:
    events = [
        (1.0, "m1", "run", "", ""), (2.0, "m2", "run", "", ""), (3.0, "m1", "run", "", ""), (4.0, "m2", "run", "", ""),
        (5.0, "m1", "sit", "left", ""), (6.0, "m1", "sit", "right", ""), (7.0, "m1", "sit", "left", ""),
        (8.0, "m1", "sit", "right", ""),
    ]  # fmt: skip
    path = project(tmp_path, boris_observation(events, media={"a.mp4": 12.0}))
    found = segments_of(bring_in(path, videos=clips))
    assert found == {"a": [(1.0, 3.0, "run"), (2.0, 4.0, "run"), (5.0, 7.0, "sit"), (6.0, 8.0, "sit")]}
    labelled = bring_in(path, videos=clips, label=("behavior", "modifiers"))
    assert {label for _, _, label in segments_of(labelled)["a"]} == {"run", "sit left", "sit right"}


def test_points_are_left_out_or_widened(tmp_path: Path, clips: Path) -> None:
    path = project(tmp_path, boris_observation([(3.0, "", "poke", "", "")], media={"a.mp4": 12.0}))
    assert reasons(bring_in(path, videos=clips)) == {"point event": 1}
    widened = bring_in(path, videos=clips, point_seconds=1.0)
    assert segments_of(widened) == {"a": [(2.5, 3.5, "poke")]}
    assert reasons(widened) == {"widened point event": 1} and widened.report.num_dropped == 0


def test_what_has_no_pair_is_told(tmp_path: Path, clips: Path) -> None:
    events = [(1.0, "", "run", "", ""), (2.0, "", "run", "", ""), (3.0, "", "run", "", ""), (9.0, "", "unknown", "")]
    imported = bring_in(project(tmp_path, boris_observation(events, media={"a.mp4": 12.0})), videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]}
    assert reasons(imported) == {"state event without its pair": 1, "incomplete entry": 1}
    assert "START at 3 s and no STOP" in imported.report.grouped()[0][1][0].detail


def test_media_played_one_after_the_other(tmp_path: Path, clips: Path) -> None:
    events = [(10.0, "", "run", ""), (14.0, "", "run", ""), (15.0, "", "sit", ""), (16.0, "", "sit", "")]
    known = boris_observation(events, media={"x/a.mp4": 12.0, "x/b.mp4": 12.0})
    imported = bring_in(project(tmp_path, known), videos=clips)
    # What ends in the next file belongs to both, each time clipped.
    assert segments_of(imported) == {"a": [(10.0, 12.0, "run")], "b": [(0.0, 2.0, "run"), (3.0, 4.0, "sit")]}
    assert reasons(imported) == {"clipped to the video": 2}
    unknown = boris_observation(events, media={"x/a.mp4": None, "x/b.mp4": None})
    assert reasons(bring_in(project(tmp_path, unknown), videos=clips)) == {"no video time": 2}
    # The videos themselves tell what the project does not.
    measured = bring_in(project(tmp_path, unknown), videos=clips, reading={"length_of": lengths_in(clips)})
    assert segments_of(measured) == segments_of(imported)


def test_the_offset_is_part_of_the_times(tmp_path: Path, clips: Path) -> None:
    events = [(103.0, "", "run", ""), (104.5, "", "run", "")]
    observation = boris_observation(events, media={"a.mp4": 12.0}, **{"time offset": 100.0})
    assert segments_of(bring_in(project(tmp_path, observation), videos=clips)) == {"a": [(3.0, 4.5, "run")]}


def test_observations_without_video_files_are_told(tmp_path: Path, clips: Path) -> None:
    events = [(1.0, "", "run", ""), (2.0, "", "run", "")]
    live = boris_observation(events, media={}, type="LIVE")
    clock = boris_observation(events, media={"a.mp4": 12.0}, media_creation_date_as_offset=True)
    empty = boris_observation(events, media={})
    fine = boris_observation([*events, ["x"]], media={"b.mp4": 12.0})
    imported = bring_in(project(tmp_path, live, clock, empty, fine), videos=clips)
    assert reasons(imported) == {"no video time": 3, "incomplete entry": 1}
    assert segments_of(imported) == {"b": [(1.0, 2.0, "run")]}


def test_packed_projects(tmp_path: Path) -> None:
    path = project(tmp_path, boris_observation([(1.0, "", "run", ""), (2.0, "", "run", "")], media={"a.mp4": 12.0}))
    packed = tmp_path / "x.boris.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(packed).records) == 1
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(SourceError, match="not readable"):
        read(packed)


def test_older_tables_begin_with_lines_about_the_observation(tmp_path: Path, clips: Path) -> None:
    above = [["Observation id", "first"], ["Media file(s)"], ["Player #1", "a.mp4"], ["Time offset (s)", "10.0"], []]
    header = ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior", "Behavioral category", "Comment",
              "Status"]  # fmt: skip
    rows = [
        ["13.300", "a.mp4", "12.0", "25.0", "m1", "run", "", "", "START"],
        ["14.000", "a.mp4", "12.0", "25.0", "m1", "poke", "", "", "POINT"],
        ["17.750", "a.mp4", "12.0", "25.0", "m1", "run", "", "", "STOP"],
        ["18.000", "a.mp4", "12.0", "25.0", "m1", "run", "", "", "STOP"],
    ]
    padded = [row + [""] * (9 - len(row)) for row in [*above, header, *rows]]
    imported = bring_in(write_rows(tmp_path / "x.tsv", padded, delimiter="\t"), videos=clips)
    assert segments_of(imported) == {"a": [(3.3, 7.75, "run")]}
    assert reasons(imported) == {"point event": 1, "state event without its pair": 1}


def test_aggregated_events_of_several_files_and_points(tmp_path: Path, clips: Path) -> None:
    header = ["Observation id", "Source", "Time offset (s)", "Media duration (s)", "Subject", "Behavior",
              "Modifier #1", "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name"]  # fmt: skip
    common = ["one", "player #1:x/a.mp4;x/b.mp4|player #2:x/c.mp4", "0.0", "12.0;12.0|5.0", "No focal subject"]
    rows = [
        [*common, "run", "", "STATE", "1.000", "2.000", "1.000", "x/a.mp4"],
        [*common, "run", "fast", "STATE", "15.000", "16.500", "1.500", "x/b.mp4"],
        [*common, "poke", "", "POINT", "3.000", "3.000", "NA", "x/a.mp4"],
        [*common, "sit", "", "STATE", "4.000", "NA", "NA", "x/a.mp4"],
        [*common, "sit", "", "STATE", "soon", "5.000", "NA", "x/a.mp4"],
        [*common, "sit", "", "STATE", "4.000", "5.000", "NA", "NA"],
    ]
    imported = bring_in(write_rows(tmp_path / "x.csv", [header, *rows]), videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")], "b": [(3.0, 4.5, "run")]}
    assert reasons(imported) == {
        "point event": 1, "state event without its pair": 1, "unparsable time": 1, "no video time": 1
    }  # fmt: skip


def test_one_table_for_each_observation_in_a_folder(tmp_path: Path, clips: Path) -> None:
    header = ["Observation id", "Subject", "Behavior", "Behavior type", "Start (s)", "Stop (s)", "Media file name"]
    for name in "ab":
        write_rows(tmp_path / f"{name}.csv", [header, [name, "", "run", "STATE", "1", "2", f"{name}.mp4"]])
    assert segments_of(bring_in(tmp_path, videos=clips)) == {"a": [(1.0, 2.0, "run")], "b": [(1.0, 2.0, "run")]}


@pytest.mark.parametrize("layout", ["aggregated", "tabular"])
def test_times_that_count_on_from_an_earlier_file_of_unknown_length_are_told(
    tmp_path: Path, clips: Path, layout: str
) -> None:
    path = tmp_path / "table.tsv"
    if layout == "aggregated":
        header = ["Observation id", "Media file", "Subject", "Behavior", "Behavior type", "Start (s)", "Stop (s)"]
        later, first, other = (
            [name, media, "S", "run", "STATE", start, stop]
            for name, media, start, stop in (("x", "b.mp4", 15, 16), ("x", "a.mp4", 1, 2), ("y", "b.mp4", 3, 4))
        )
        write_rows(path, [header, later, first, other], delimiter="\t")
        expected = {"a": [(1.0, 2.0, "run")], "b": [(3.0, 4.0, "run")]}
    else:
        header = ["Time", "Media file path", "Subject", "Behavior", "Status"]
        times = ((1, "a.mp4", "START"), (2, "a.mp4", "STOP"), (15, "b.mp4", "START"), (16, "b.mp4", "STOP"))
        rows = [[time, media, "S", "run", status] for time, media, status in times]
        # Nothing happens in the first file, which only the lines above tell of.
        players = [["Player #1", "c.mp4"], ["Player #1", "a.mp4"], ["Player #1", "b.mp4"]]
        write_rows(tmp_path / "silent.tsv", [["Observation id", "x"], *players, [], header, *rows], delimiter="\t")
        silent = bring_in(tmp_path / "silent.tsv", videos=clips)
        assert segments_of(silent) == {} and reasons(silent) == {"no video time": 2}
        write_rows(path, [["Observation id", "x"], [], header, *rows], delimiter="\t")
        expected = {"a": [(1.0, 2.0, "run")]}
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == expected
    assert reasons(imported) == {"no video time": 1}
    measured = bring_in(path, videos=clips, reading={"length_of": lengths_in(clips)})
    expected["b"] = [*expected.get("b", []), (3.0, 4.0, "run")]  # 15 to 16 s of the observation
    assert {video: sorted(set(rows)) for video, rows in segments_of(measured).items()} == {
        video: sorted(set(rows)) for video, rows in expected.items()
    }


def test_events_that_are_not_in_order_are_paired_by_time(tmp_path: Path, clips: Path) -> None:
    events = [(4.0, "", "run", ""), (1.0, "", "run", ""), (3.0, "", "run", ""), (2.0, "", "run", "")]
    path = project(tmp_path, boris_observation(events, media={"a.mp4": 12.0}))
    assert segments_of(bring_in(path, videos=clips)) == {"a": [(1.0, 2.0, "run"), (3.0, 4.0, "run")]}
    header = ["Time", "Media file name", "Subject", "Behavior", "Behavior type"]
    rows = [[2.0, "a.mp4", "", "run", "STOP"], [1.0, "a.mp4", "", "run", "START"]]
    table = write_rows(tmp_path / "x.tsv", [header, *rows], delimiter="\t")
    assert segments_of(bring_in(table, videos=clips)) == {"a": [(1.0, 2.0, "run")]}


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", {"one/m.mp4": 12.0, "two/m.mp4": 12.0})
    header = ["Observation id", "Source", "Media duration (s)", "Subject", "Behavior", "Behavior type", "Start (s)",
              "Stop (s)", "Media file name"]  # fmt: skip
    common = ["x", "player #1:D:/one/m.mp4;D:/two/m.mp4", "12.0;12.0", "", "run", "STATE"]
    rows = [[*common, 1, 2, "D:/one/m.mp4"], [*common, 13, 14, "D:/two/m.mp4"]]
    imported = bring_in(write_rows(tmp_path / "x.csv", [header, *rows]), videos=videos)
    assert segments_of(imported) == {"one/m": [(1.0, 2.0, "run")], "two/m": [(1.0, 2.0, "run")]}


def test_an_observation_limited_to_an_interval_has_looked_at_no_more(tmp_path: Path, clips: Path) -> None:
    events = [(4.0, "", "run", ""), (15.0, "", "run", "")]

    def labelled(interval: list[float]) -> dict[str, object]:
        limits = {"observation time interval": interval, "time offset": 1.0}
        observation = boris_observation(events, media={"a.mp4": 12.0, "b.mp4": 12.0, "c.mp4": 12.0}, **limits)
        imported = bring_in(project(tmp_path, observation), videos=clips)
        assert segments_of(imported) == {"a": [(3.0, 12.0, "run")], "b": [(0.0, 2.0, "run")], "c": []}
        return {video: entry.get("labelled") for video, entry in imported.database.items()}

    assert labelled([2, 15]) == {"a": [[2.0, 12.0]], "b": [[0.0, 3.0]], "c": []}
    assert labelled([2, 0]) == {"a": [[2.0, 12.0]], "b": None, "c": None}
    assert labelled([0, 0]) == {"a": None, "b": None, "c": None}


def test_a_video_whose_only_event_has_no_pair_is_not_taken_for_empty(tmp_path: Path, clips: Path) -> None:
    lost = boris_observation([(1.0, "", "run", "")], media={"a.mp4": 12.0})
    fine = boris_observation([(1.0, "", "run", ""), (2.0, "", "run", "")], media={"b.mp4": 12.0})
    empty = boris_observation([], media={"c.mp4": 12.0})
    imported = bring_in(project(tmp_path, lost, fine, empty), videos=clips)
    assert {video: entry.get("labelled") for video, entry in imported.database.items()} == {
        "a": [], "b": None, "c": None
    }  # fmt: skip
    assert any("of 1 videos, such as a.mp4, none could be used" in hint for hint in imported.report.hints)
