"""The program that measures memory against the length of a video."""

import json
from importlib import import_module

import pytest


def test_long_video_predicts_on_a_video_of_each_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["long_video.py", "--minutes", "0.1", "--fps", "10", "--size", "16", "--json"])
    import_module("long_video").main()
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["minutes"], row["frames"]) == (0.1, 60)
    assert row["peak_mib"] > 100 and row["seconds"] > 0
