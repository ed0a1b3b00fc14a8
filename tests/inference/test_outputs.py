"""Detections as CSV and WebVTT, whatever is in the names."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.inference.outputs import csv_text, vtt_text


def _row(start: float, end: float, label: str, score: float = 0.5) -> dict[str, Any]:
    return {"segment": [start, end], "label": label, "score": score}


def test_a_table_has_a_header_and_a_row_for_each_detection() -> None:
    assert csv_text("cow", [_row(0.5, 61.25, "walk", 0.98765)]).splitlines() == [
        "video,start_seconds,end_seconds,label,score",
        "cow,0.500,61.250,walk,0.9877",
    ]


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "＠x"])
def test_no_name_is_a_formula(label: str) -> None:
    (_, cells) = csv.reader(io.StringIO(csv_text(label, [_row(0, 1, label)]), newline=""))
    assert cells[0] == cells[3] == f"'{label}"


@pytest.mark.parametrize("label", ["\t=1", "\r=1", "\n=1", "a\r=1", "\0=1"])
def test_no_name_begins_a_row_or_cell_of_its_own(label: str) -> None:
    text = csv_text(label, [_row(0, 1, label)])
    assert text.count("\n") == 2 and not any(character in text for character in "\t\r\0")
    assert all(not cell.lstrip().startswith("=") for row in csv.reader(io.StringIO(text)) for cell in row)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_any_other_name_comes_back_as_it_is(label: str) -> None:
    (_, cells) = csv.reader(io.StringIO(csv_text("video", [_row(0, 1, label)]), newline=""))
    assert cells[3] in (label, f"'{label}")


def test_subtitles_come_in_the_order_of_time() -> None:
    rows = [_row(3661.5, 3662.0, "run", 0.9), _row(0.0, 2.0, "walk", 0.75)]
    assert vtt_text(rows) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nwalk 0.75\n\n01:01:01.500 --> 01:01:02.000\nrun 0.90\n"
    )


def test_no_detections_are_an_empty_list_of_subtitles() -> None:
    assert vtt_text([]) == "WEBVTT\n"


def test_a_detection_of_no_length_is_shown_all_the_same() -> None:
    assert "00:00:01.000 --> 00:00:01.001" in vtt_text([_row(1.0, 1.0001, "blink")])


@given(st.text(max_size=20))
def test_no_label_breaks_subtitles(label: str) -> None:
    """A cue is its times, one line of text without tags, and an empty line."""
    lines = vtt_text([_row(1, 2, label), _row(3, 4, "end")]).split("\n")
    assert [line for line in lines if "-->" in line] == [
        "00:00:01.000 --> 00:00:02.000",
        "00:00:03.000 --> 00:00:04.000",
    ]
    assert len(lines) == 8 and lines[3].endswith("0.50") and lines[4] == ""
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", lines[3])
