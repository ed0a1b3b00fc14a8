"""A full disk: the run stops and says so, and what was saved before is whole."""

import errno
import logging
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from re2tal.training import DiskFullError, RunFolder, load_checkpoint, log, logging_to, newest_good
from re2tal.training.disk import telling_of_full_disk
from tests.training.training_toy import toy_config, toy_trainer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_run_with_the_last_checkpoint_intact(small_disk: Path) -> None:
    # A whole state takes some 15 KiB.
    trainer = toy_trainer(small_disk, config=toy_config(epochs=30))
    with pytest.raises(DiskFullError) as caught:
        trainer.run(None)
    message = str(caught.value)
    assert "No space left on device" in message and "MiB are free there; free some" in message
    newest = newest_good(RunFolder(small_disk))
    assert newest is not None and load_checkpoint(newest)["epoch"] >= 1
    assert not list(small_disk.rglob("*.tmp"))
    if f"epoch_{trainer.next_epoch - 1}.pth" in message:
        assert newest == trainer.folder.epoch(trainer.next_epoch - 2)


def test_a_quota_is_told_like_a_full_disk(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(epochs=2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(DiskFullError, match=r"epoch_0\.pth cannot be written \(File too large\): it takes"):
            trainer.run(None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "checkpoint").iterdir())


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), telling_of_full_disk(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(RuntimeError, match="of a tensor"), telling_of_full_disk(tmp_path / "a"):
        raise RuntimeError("of a tensor")


def test_a_log_that_cannot_be_written_does_not_hide_what_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: logging.FileHandler, record: logging.LogRecord) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            self.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", full)
    with logging_to(tmp_path / "log.txt"):
        log.warning("still here")
    said = capsys.readouterr().err
    assert "still here" in said and "Logging error" not in said and "Traceback" not in said
