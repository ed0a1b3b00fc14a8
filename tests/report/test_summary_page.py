"""The page of a summary, and the report of point events, in a browser."""

import json
from pathlib import Path
from typing import Any

import pytest
import report_page

from re2tal.evaluation.bouts import BoutRules, read_observed
from re2tal.report import Sources, TruthSource, write_report, write_summary
from tests.evaluation.behaviour import write
from tests.report.report_data import HOSTILE

pytest.importorskip("playwright", reason="playwright is not installed; pip install 're2tal[dev]'")
pytestmark = pytest.mark.skipif(
    report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium"
)


def summary(folder: Path, videos: Any, **entry: Any) -> Path:
    observed = read_observed(write(folder / "a.json", videos, **entry), rules=BoutRules())
    write_summary(folder / "summary.html", observed.observations, title="mice", bin_seconds=20)
    return folder / "summary.html"


def test_bouts_lie_where_they_happened(page: Any, tmp_path: Path) -> None:
    videos = {"a": [(25, 50, "run"), (50, 75, "sit"), (10, 10, "peck")], "b": [(0, 80, "run")]}
    page.goto(summary(tmp_path, videos, labelled=[[0, 80]]).as_uri())
    pictures = page.locator("#ethograms svg")
    assert pictures.count() == 2
    ground = pictures.nth(0).locator(".seen").bounding_box()
    run = pictures.nth(0).locator(".bar", has_text="run, 25.00 to 50.00 s").bounding_box()
    assert (run["x"] - ground["x"]) / ground["width"] == pytest.approx(25 / 80, abs=0.01)
    assert run["width"] / ground["width"] == pytest.approx(25 / 80, abs=0.01)
    point = pictures.nth(0).locator(".bar", has_text="peck, 10.00 s").bounding_box()
    assert point["width"] >= 1 and point["y"] < run["y"]
    cells = page.locator("#figures tbody tr", has_text="run").locator("td").all_inner_texts()
    assert cells[:4] == ["2", "0.75", "105.00", "65.6 %"]
    row = page.locator("#transitions tbody tr", has_text="run").locator("td").all_inner_texts()
    assert row == ["", "", "1.00 1"]
    assert page.locator("#budget svg").count() == 2


def test_hostile_names_are_shown_and_obeyed_by_nobody(page: Any, tmp_path: Path) -> None:
    page.goto(summary(tmp_path, {name: [(0, 10, name)] for name in HOSTILE}).as_uri())
    expected = [name.replace("\0", "") for name in HOSTILE]  # which HTML has no place for
    assert page.locator("#ethograms bdi").all_text_contents() == expected
    assert sorted(page.locator("#figures tbody bdi").all_text_contents()) == sorted(expected)
    assert page.title() == "mice - re2tal summary"


def test_a_page_without_bouts_and_one_of_many_videos_open(page: Any, tmp_path: Path) -> None:
    page.goto(summary(tmp_path, {"a": []}).as_uri())
    assert page.locator("#ethograms svg").count() == 1
    page.goto(summary(tmp_path, {f"v{number}": [(0, 1, "run")] for number in range(60)}).as_uri())
    assert page.locator("#ethograms svg").count() == 50
    assert "first 50 of 60 videos" in page.locator("#figures").inner_text()


def test_the_page_fits_a_phone(page: Any, tmp_path: Path) -> None:
    path = summary(tmp_path, {"a": [(0, 10, "a rather long name of a class"), (20, 30, "sit")]})
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_report_of_point_events_opens_without_figures_of_overlap(page: Any, tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.json", {"a": [(10, 10, "peck"), (60, 60, "peck")]})
    found = tmp_path / "found.json"
    rows = [{"segment": [at, at], "label": "peck", "score": score} for at, score in ((10.5, 0.9), (30.0, 0.4))]
    found.write_text(json.dumps({"results": {"a": rows}}))
    sources = Sources(title="points", detections=found, truth=TruthSource(path=truth))
    written = write_report(sources, out=tmp_path / "report.html")
    assert written.metrics == {} and any("evaluate --points" in note for note in written.notes)
    page.goto(written.path.as_uri())
    page.locator("#score").fill("0")
    assert page.locator("#timeline .segment.truth").count() == 2
    assert page.locator("#timeline .segment").count() == 4
