"""Timelines as pictures: bars where the segments are, fainter with a lower score."""

from pathlib import Path

import numpy as np
import pytest

from re2tal.evaluation import read_ground_truth, read_predictions
from re2tal.report import timeline_pictures
from re2tal.report.picture import COLOURS
from tests.report.report_data import HOSTILE, write_found, write_truth

pytest.importorskip("PIL", reason="pillow is not installed; pip install 're2tal[tensorboard]'")


def test_bars_are_where_the_segments_are(tmp_path: Path) -> None:
    truth = read_ground_truth(write_truth(tmp_path, {"v": [(0.0, 10.0, "run")]}), subset="validation")
    found = read_predictions(write_found(tmp_path, {"v": [(10.0, 20.0, "run", 1.0), (0.0, 5.0, "run", 0.0)]}))
    picture = timeline_pictures(truth, found)["timeline/v"]
    full = [int(COLOURS[0][place : place + 2], 16) for place in (1, 3, 5)]
    columns = np.flatnonzero((picture == full).all(-1).sum(0) > 10)  # filled, not only outlined
    half = (144 + 886) / 2
    assert (columns.min(), columns.max()) == (pytest.approx(144, abs=1), pytest.approx(886, abs=1))
    truth_row, found_row = (picture[y] for y in (41, 59))
    assert (truth_row[300] == full).all() and not (truth_row[round(half) + 20] == full).all()
    assert (found_row[round(half) + 20] == full).all()
    assert found_row[200].mean() > 200  # a score of 0 is faint


def test_pictures_are_few_and_take_any_name(tmp_path: Path) -> None:
    videos = {name: [(1.0, 2.0, name)] for name in HOSTILE}
    truth = read_ground_truth(write_truth(tmp_path, {"without": [], **videos}), subset="validation")
    found = read_predictions(write_found(tmp_path, {}))
    pictures = timeline_pictures(truth, found, max_videos=4)
    assert list(pictures) == [f"timeline/{name}" for name in HOSTILE[:4]]
    assert all(picture.dtype == np.uint8 and picture.shape[1:] == (900, 3) for picture in pictures.values())
