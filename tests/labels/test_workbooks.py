"""Spreadsheets: typed cells, several sheets, and files that would take the process with them."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from re2tal.labels import ReadOptions, SourceError, Time, read_sources
from tests.labels.support import bring_in, read, segments_of


def book(path: Path, **sheets: Sequence[Sequence[Any]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


HEADER = ("video", "start", "end", "label")


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        (time(0, 1, 2), 62.0),  # typed as 0:01:02
        (time(0, 0, 5, 500000), 5.5),
        (timedelta(hours=25, seconds=1), 90001.0),  # shown as [h]:mm:ss
        (12, 12.0),
        (12.25, 12.25),
        ("0:01:02.5", 62.5),
        ("12,5", 12.5),
        (1e-3, 0.001),
    ],
)
def test_times_as_spreadsheets_keep_them(cell: Any, seconds: float, tmp_path: Path) -> None:
    reading = read(book(tmp_path / "x.xlsx", s=[HEADER, ("a", cell, 200000, "run")]))
    assert reading.records[0].start.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("cell", [datetime(2024, 5, 1, 10, 0, 3), date(2024, 5, 1), "", "late", 1e12])
def test_cells_that_are_no_time_of_a_video_are_told(cell: Any, tmp_path: Path) -> None:
    reading = read(book(tmp_path / "x.xlsx", s=[HEADER, ("a", cell, 2, "run"), ("a", 3, 4, "run")]))
    assert len(reading.records) == 1
    (problem,) = reading.problems
    assert problem.reason == "unparsable time" and problem.where == f"{tmp_path}/x.xlsx/s, line 2"


def test_minutes_that_became_hours_are_pointed_out(clips: Path, tmp_path: Path) -> None:
    rows = [("a", time(0, 1), time(0, 2), "run"), ("b", time(0, 5), time(0, 8), "run")]  # 0:01 was meant as a second
    imported = bring_in(book(tmp_path / "x.xlsx", s=[HEADER, *rows]), videos=clips)
    assert any(
        "a spreadsheet takes 1:30 for an hour and a half; type 0:01:30" in hint for hint in imported.report.hints
    )


def test_every_sheet_with_labels_is_read_and_the_others_are_told(clips: Path, tmp_path: Path) -> None:
    path = book(
        tmp_path / "x.xlsx",
        a=[HEADER[1:], (1, 2, "run")],  # called like its video
        notes=[("who", "when"), ("Ann", "May")],
        empty=[],
        frames=[("frame", "sit", "run"), *((number, number % 2, 0) for number in range(40))],
        b=[HEADER, ("b", 3, 4, "sit")],
    )
    readings = read_sources([path], format_=None, options=ReadOptions())
    assert [(reading.format, reading.path.name) for reading in readings] == [
        ("csv", "a"), ("per-frame", "frames"), ("csv", "b")
    ]  # fmt: skip
    assert any("1 sheets of" in note and "'notes'" in note for note in readings[0].notes)
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")], "b": [(3.0, 4.0, "sit")]}


def test_a_workbook_may_be_called_like_its_video(clips: Path, tmp_path: Path) -> None:
    imported = bring_in(book(tmp_path / "b_labels.xlsx", Sheet1=[HEADER[1:], (1, 2, "run")]), videos=clips)
    assert segments_of(imported) == {"b": [(1.0, 2.0, "run")]}


def test_formulas_have_the_value_that_was_saved(tmp_path: Path) -> None:
    path = book(tmp_path / "x.xlsx", s=[HEADER, ("a", "=1+1", 3, "run")])
    with zipfile.ZipFile(path) as files:
        parts = {name: files.read(name) for name in files.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b"<f>1+1</f><v />" in parts[sheet] or b"<f>1+1</f><v></v>" in parts[sheet]
    for empty in (b"<v />", b"<v></v>"):
        parts[sheet] = parts[sheet].replace(b"<f>1+1</f>" + empty, b"<f>1+1</f><v>2</v>")
    with zipfile.ZipFile(path, "w") as files:
        for name, content in parts.items():
            files.writestr(name, content)
    assert read(path).records[0].start == Time(seconds=2.0)


def test_a_sheet_without_labels_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"x.xlsx/notes has no columns that are known as start and end; it has 'who'"):
        read(book(tmp_path / "x.xlsx", notes=[("who", "when"), ("Ann", "May")]))
    with pytest.raises(SourceError, match="has no sheet that holds anything"):
        read(book(tmp_path / "y.xlsx", empty=[]))


def test_a_cell_in_the_far_corner_is_refused(tmp_path: Path) -> None:
    """The library that reads spreadsheets aborts: it asks for the memory of all cells before it."""
    made = openpyxl.Workbook()
    made.active["A1"], made.active["XFD1048576"] = "start", "x"
    made.save(tmp_path / "x.xlsx")
    with pytest.raises(SourceError, match="x.xlsx is no readable spreadsheet: it is damaged or huge"):
        read(tmp_path / "x.xlsx")


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    whole = book(tmp_path / "x.xlsx", s=[HEADER, ("a", 1, 2, "run")])
    with zipfile.ZipFile(whole) as files:
        parts = {name: files.read(name) for name in files.namelist()}
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"][:100]
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as files:
        for name, content in parts.items():
            files.writestr(name, content)
    (tmp_path / "y.xlsx").write_bytes(raw.getvalue())
    with pytest.raises(SourceError, match=r"y.xlsx (is no readable spreadsheet|has no sheet)"):
        read(tmp_path / "y.xlsx")


def test_merged_cells_count_for_all_their_rows(clips: Path, tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    for row in (["Labels of May"], HEADER, ("a", 1, 2, "run"), (None, 3, 4, "sit"), ("b", 1, 2, "run")):
        made.active.append(row)
    made.active.merge_cells("A1:D1")
    made.active.merge_cells("A3:A4")
    made.save(tmp_path / "x.xlsx")
    imported = bring_in(tmp_path / "x.xlsx", videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run"), (3.0, 4.0, "sit")], "b": [(1.0, 2.0, "run")]}
