"""Tables with a row for each frame, against a plain reading of the same rows."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from re2tal.labels import SourceError
from tests.labels.conftest import FPS, SECONDS
from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import write_rows

FRAMES = round(SECONDS * FPS)


def runs_of(states: Sequence[int]) -> list[tuple[int, int]]:
    """First frame, and frame after the last, of every run of ones."""
    found, at = [], 0
    for state, group in groupby(states):
        length = len(list(group))
        found += [(at, at + length)] if state else []
        at += length
    return found


def test_the_columns_of_classes_become_segments(clips: Path, tmp_path: Path) -> None:
    rows = [(number, int(number < 5), int(5 <= number < 20), 0) for number in range(FRAMES)]
    path = write_rows(tmp_path / "a_labels.csv", [("", "background", "groom", "walk"), *rows])
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(0.5, 2.0, "groom")]}
    assert "labelled" not in imported.database["a"]
    (note,) = [note for note in imported.report.notes if "row for each frame" in note]
    assert "its classes are 'groom', 'walk'" in note


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=3, max_size=60),
    first=st.sampled_from([None, 0, 1, 7]),
)
def test_any_rows_give_the_runs_that_are_there(states: list[list[int]], first: int | None, tmp_path: Path) -> None:
    header = ["run", "sit"] if first is None else ["frame", "run", "sit"]
    rows = [row if first is None else [first + number, *row] for number, row in enumerate(states)]
    reading = read(write_rows(tmp_path / "a.csv", [header, *rows]))
    begin = 7 if first == 7 else 0  # a count from 1 is one of the same frames
    expected = sorted(
        (start + begin, end + begin, name)
        for column, name in enumerate(("run", "sit"))
        for start, end in runs_of([row[column] for row in states])
    )
    found = sorted(
        (record.start.frames, record.end.frames, record.fields["label"]) for record in reading.records if record.end
    )
    assert found == expected
    ((start, end),) = reading.covered[0].stretches or ()
    assert (start.frames, end.frames) == (begin, begin + len(states))


def test_a_column_of_times_tells_the_rate(clips: Path, tmp_path: Path) -> None:
    rows = [(f"{number * 0.04:.2f}", int(25 <= number < 50)) for number in range(300)]
    imported = bring_in(write_rows(tmp_path / "a.tsv", [("time", "run"), *rows], delimiter="\t"), videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]}


def test_points_that_boris_has_counted(clips: Path, tmp_path: Path) -> None:
    rows = [(float(number), 2 * int(number == 3), int(number in (3, 4))) for number in range(12)]
    imported = bring_in(write_rows(tmp_path / "a_No focal subject.csv", [("time", "call", "run"), *rows]), videos=clips)
    assert segments_of(imported) == {"a": [(3.0, 4.0, "call"), (3.0, 5.0, "run")]}


def test_boris_adds_the_subject_to_the_name(clips: Path, tmp_path: Path) -> None:
    rows = [(float(number), int(number == 3)) for number in range(12)]
    imported = bring_in(
        write_rows(tmp_path / "b_big mouse_2.tsv", [("time", "run"), *rows], delimiter="\t"), videos=clips
    )
    assert segments_of(imported) == {"b": [(3.0, 4.0, "run")]}


def test_the_rate_may_be_told(clips: Path, tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.csv", [("frame", "run"), *((number, int(50 <= number < 100)) for number in range(600))]
    )
    imported = bring_in(path, videos=clips, fps=50.0)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]} and "labelled" not in imported.database["a"]
    wrong = bring_in(path, videos=clips)
    assert any("1 tables have rows for more time than their video lasts" in hint for hint in wrong.report.hints)


def test_frames_that_nobody_has_looked_at_are_not_labelled(clips: Path, tmp_path: Path) -> None:
    states = [-1 if number < 30 else int(40 <= number < 50) for number in range(FRAMES)]
    path = write_rows(
        tmp_path / "a.csv", [("", "background", "run"), *((n, -1 if s < 0 else 1 - s, s) for n, s in enumerate(states))]
    )
    imported = bring_in(path, videos=clips)
    assert imported.database["a"]["labelled"] == [[3.0, 12.0]]
    assert segments_of(imported) == {"a": [(4.0, 5.0, "run")]}


@pytest.mark.parametrize(("count", "labelled"), [(FRAMES - 9, None), (FRAMES - 20, [[0.0, 10.0]]), (FRAMES + 5, None)])
def test_what_a_table_does_not_cover(
    count: int, labelled: list[list[float]] | None, clips: Path, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "a.csv", [("", "run"), *((number, int(number < 10)) for number in range(count))])
    imported = bring_in(path, videos=clips)
    assert imported.database["a"].get("labelled") == labelled and not reasons(imported)


def test_a_table_without_a_single_action_is_of_an_empty_video(clips: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [("", "run"), *((number, 0) for number in range(FRAMES))])
    write_rows(tmp_path / "b.csv", [("", "run"), *((number, int(number > 60)) for number in range(FRAMES))])
    assert segments_of(bring_in(tmp_path, videos=clips)) == {"a": [], "b": [(6.1, 12.0, "run")]}


def test_features_beside_the_classes_are_no_classes(clips: Path, tmp_path: Path) -> None:
    """As SimBA writes them: some features look like classes at the beginning of a file."""
    random = np.random.default_rng(0)
    header = ["", "Nose_x", "Nose_p", "Movement", "Low_prob_detections_0.5", "Probability_Attack", "Attack"]
    rows = [
        [number, random.normal() * 50, 0.5, 0 if number < 250 else 3, number % 2, 0, int(20 <= number < 30)]
        for number in range(300)
    ]
    imported = bring_in(write_rows(tmp_path / "a.csv", [header, *rows]), videos=clips)
    assert segments_of(imported) == {"a": [(2.0, 3.0, "Attack")]}
    assert any(
        "1 columns hold other numbers further down and are none, such as 'Movement'" in n for n in imported.report.notes
    )


def test_a_column_may_name_the_class(clips: Path, tmp_path: Path) -> None:
    names = ["" if n < 10 else "none" if n < 20 else "run" if n < 35 else "sit" for n in range(FRAMES)]
    path = write_rows(
        tmp_path / "a_behavior.csv",
        [("Time (s)", "Behaviour"), *((f"{n / 10:.1f}", name) for n, name in enumerate(names))],
    )
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(2.0, 3.5, "run"), (3.5, 12.0, "sit")]}
    assert "labelled" not in imported.database["a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1), (1, 1), (2, 0), (1, 0)] + [(3, 0)] * 200, None),
        ([(number % 250, 0) for number in range(500)], "line 252 goes back in time, from 249 to 0; sort the rows"),
        ([*((number, 0) for number in range(250)), ("x", 0)], "line 252 has no time or frame number: 'x'"),
        (
            [*((number, 1) for number in range(250)), (250, 0.5)],
            "no column of 0 and 1 only, from the first row to the last",
        ),
    ],
)
def test_tables_that_are_none(rows: list[tuple[object, ...]], message: str | None, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", [("frame", "run"), *rows])
    with pytest.raises(SourceError, match=message or "no columns that are known as start and end"):
        read(path)


def test_what_is_said_of_many_files_is_said_once(clips: Path, tmp_path: Path) -> None:
    for name in "abcd":
        write_rows(
            tmp_path / f"{name}.csv", [("frame", "run"), *((number, int(number < 9)) for number in range(FRAMES))]
        )
    (note,) = [note for note in bring_in(tmp_path, videos=clips).report.notes if "row for each frame" in note]
    assert note.startswith(f"{tmp_path}/a.csv has a row for each frame") and note.endswith("(and so of 3 other files)")


def test_other_rates_of_rows(clips: Path, tmp_path: Path) -> None:
    """Every fifth frame, and a gap of which nothing is known."""
    frames = [*range(0, 40, 5), *range(80, 120, 5)]
    path = write_rows(tmp_path / "a.csv", [("frame", "run"), *((number, int(number >= 20)) for number in frames)])
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(2.0, 4.0, "run"), (8.0, 12.0, "run")]}
    assert imported.database["a"]["labelled"] == [[0.0, 4.0], [8.0, 12.0]]


def test_a_clock_in_milliseconds_and_a_column_that_is_alone(clips: Path, tmp_path: Path) -> None:
    rows = [(number * 100, int(10 <= number < 30)) for number in range(FRAMES)]
    for name in ("time (ms)", "timestamp_ms"):
        path = write_rows(tmp_path / "a.csv", [(name, "groom"), *rows])
        assert segments_of(bring_in(path, videos=clips)) == {"a": [(1.0, 3.0, "groom")]}
    alone = write_rows(tmp_path / "a.csv", [("groom",), *((state,) for _, state in rows)])
    assert segments_of(bring_in(alone, videos=clips)) == {"a": [(1.0, 3.0, "groom")]}


def test_a_column_that_one_cell_keeps_from_being_a_class_is_told(clips: Path, tmp_path: Path) -> None:
    rows = [(number, int(number < 30), "x" if number == 50 else 1) for number in range(FRAMES)]
    imported = bring_in(write_rows(tmp_path / "a.csv", [("frame", "groom", "walk"), *rows]), videos=clips)
    (note,) = [note for note in imported.report.notes if "row for each frame" in note]
    assert "1 columns of other values are no classes, such as 'walk' with 'x' in line 52" in note
