"""Files that are written as a whole or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from re2tal.common.atomic import atomic_path, atomic_text

DYING = """
import os, sys
from pathlib import Path
from re2tal.common.atomic import atomic_text
with atomic_text(Path(sys.argv[1])) as file:
    file.write("new, as far as it got")
    file.flush()
    os._exit(1)
"""


def test_a_process_that_dies_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    died = subprocess.run([sys.executable, "-c", DYING, str(path)], check=False)
    assert died.returncode == 1 and path.read_text() == "old"
    with atomic_text(path) as file:  # what the dead process left does not stand in the way
        file.write("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("old", ["old", None])
def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_text(old)
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as unfinished:
        unfinished.write_bytes(b"new")
        raise RuntimeError("half way")
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_contents_are_on_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new/a.txt"
    at_sync: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda opened: at_sync.append((os.fstat(opened).st_size, path.exists())))
    with atomic_text(path) as file:
        file.write("äb\n")
    assert at_sync[0] == (4, False) and len(at_sync) == 2 and at_sync[1][1]
    assert path.read_bytes() == "äb\n".encode()


def test_writers_may_choose_the_format_by_the_temporary_name(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.mp4", suffix=".mp4") as unfinished:
        assert unfinished.name.startswith(".a.mp4.") and unfinished.suffix == ".mp4"
        unfinished.touch()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(os.name != "posix", reason="limits of processes are of POSIX")
def test_a_full_disk_is_told_in_one_message_by_commands(tmp_path: Path) -> None:
    found = tmp_path / "detections.json"
    rows = [{"segment": [number, number + 1], "score": 0.9, "label": "run"} for number in range(50)]
    found.write_text(json.dumps({"results": {"a": rows}}))
    limited = (  # a limit of the process's files stands for the disk's end
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "sys.argv = ['re2tal', *sys.argv[1:]]\nfrom re2tal.cli import main\nmain()\n"
    )
    out = tmp_path / "x.csv"
    command = [sys.executable, "-c", limited, "export", str(found), "--format", "csv", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {out} cannot be written (File too large); free some space")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detections.json"]
