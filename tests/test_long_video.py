"""The programs that measure memory against the length of a video, or of a stream."""

import json
from importlib import import_module

import pytest


def test_long_video_predicts_on_a_video_of_each_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prediction", "--minutes", "0.1", "--fps", "10", "--size", "16", "--json"]
    monkeypatch.setattr("sys.argv", ["long_video.py", *arguments])
    import_module("long_video").main()
    rows = json.loads(capsys.readouterr().out)
    assert [row["seen"] for row in rows] == ["in windows", "whole"]
    for row in rows:
        assert (row["minutes"], row["frames"]) == (0.1, 60)
        assert row["peak_mib"] > 100 and row["seconds"] > 0


def test_live_follows_a_stream_and_measures_memory_and_delay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--minutes", "0.1", "--fps", "10", "--size", "16", "--speed", "0", "--json"]
    monkeypatch.setattr("sys.argv", ["live.py", *arguments])
    import_module("live").main()
    row = json.loads(capsys.readouterr().out)
    assert (row["frames"], row["windows"], row["gaps"]) == (60, 1, 0)
    assert row["detections"] > 50 and row["peak_mib"] >= row["peak_mib_of_first_third"] > 0
