"""What a command needs at its end is asked for at its start, before anything long."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from re2tal.common.atomic import NotWritableError, require_writable
from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder
from re2tal.training.disk import DiskFullError
from re2tal.video import UnreadableVideoError
from tests.tiny_experiment import make_tiny_experiment

ALONE = Processes()
Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_experiment(tmp_path)


def train(tiny: Path, *options: str) -> None:
    """A training that ends with an error before its first step."""
    folder = RunFolder(tiny.parent / "run")
    try:
        experiment.train(load_config(tiny, options), processes=ALONE, folder=folder, deterministic=False)
    finally:
        assert not folder.metrics.exists()


def test_a_test_video_that_cannot_be_read_is_told_before_the_first_step(tiny: Path) -> None:
    (tiny.parent / "videos/video5.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableVideoError, match=r"1 of 2 test videos .*video5\.mp4.* data\.missing \(video5\)"):
        train(tiny)
    missing = tiny.parent / "missing.txt"
    missing.write_text("video5\n")
    load_config(tiny, [f"data.missing={missing}"])
    folder = RunFolder(tiny.parent / "other")  # following the advice helps
    options = [f"data.missing={missing}", "training.epochs=1", "training.warmup_epochs=0"]
    experiment.train(load_config(tiny, options), processes=ALONE, folder=folder, deterministic=False)
    assert folder.best.is_file()


def test_a_checkpoint_that_would_not_fit_is_told_before_the_first_step(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40, 1000))
    with pytest.raises(DiskFullError, match=r"a checkpoint and the best weights take .* are free in .*work_dir"):
        train(tiny)


def test_a_disk_that_will_be_full_is_told(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All files together are no larger than what is asked for, and not much smaller."""
    free = 2**40
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 0, free))
    needed: list[int] = []
    from re2tal.training import loop

    asked = loop.require_room

    def note(folder: Path, *, least: int, most: int) -> str | None:
        needed.append(most)
        return asked(folder, least=least, most=most)

    monkeypatch.setattr(loop, "require_room", note)
    folder = RunFolder(tiny.parent / "run")
    experiment.train(load_config(tiny), processes=ALONE, folder=folder, deterministic=False)
    written = sum(file.stat().st_size for file in folder.checkpoints.iterdir())
    assert "all checkpoints of this run" not in caplog.text
    assert 0.3 < written / needed[0] < 3
    free = needed[0] - 1
    experiment.train(load_config(tiny), processes=ALONE, folder=folder, deterministic=False)
    assert "all checkpoints of this run take" in caplog.text and "training.keep_checkpoints" in caplog.text


def test_thresholds_are_read_before_files(re2tal: Any) -> None:
    files = ["--ground-truth", "absent.json", "--predictions", "absent.json", "--tious", "half"]
    for command in ("evaluate", "diagnose"):
        assert "--tious must be numbers" in re2tal(command, *files)
    assert "--tious must be numbers" in re2tal("report", "absent.json", "--tious", "half")


def test_files_that_cannot_be_written_are_told_before_videos_are_looked_at(
    tiny: Path, re2tal: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*_: object, **__: object) -> None:
        raise AssertionError("a video was looked at")

    monkeypatch.setattr("re2tal.experiments.checking.check.check_videos", probe)
    monkeypatch.setattr("re2tal.labels.importing.probe_all", probe)
    folder, file = tiny.parent / "videos", tiny
    for option in ("--list", "--missing"):
        assert f"{folder} cannot be written: it is a folder" in re2tal("check-data", tiny, option, folder)
    table = tiny.parent / "labels.csv"
    table.write_text("video,start,end,label\nvideo0,0,1,a\n")
    imported = ["import", table, "--videos", folder, "--out"]
    assert re2tal(*imported, file / "out.json") == 2
    assert f"would lie in {file}, which is no folder; give another path" in capsys.readouterr().err
    assert re2tal(*imported, tiny.parent / "out.json", "--list", folder) == 2
    found = tiny.parent / "found.json"
    found.write_text(json.dumps({"results": {}}))
    assert "is a folder" in re2tal("report", found, "--out", folder)


def test_a_place_that_is_there_or_can_be_made_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable(None, tmp_path / "new/folder/file", Path("file"), Path("new/file"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(NotWritableError, match="where you may not write"):
        require_writable(tmp_path / "file")


def test_detections_have_a_place_before_anything_is_detected(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tiny.parent / "run")
    (folder.path / "detections.json").mkdir(parents=True)
    with pytest.raises(NotWritableError, match=r"detections\.json cannot be written"):
        experiment.test(load_config(tiny), processes=ALONE, folder=folder, checkpoint=tiny)
