"""A format of one's own, in a file of one's own."""

from pathlib import Path
from typing import Any

from tests.extending.conftest import EXAMPLES
from tests.labels.exporting.support import write_annotations


def test_the_example_writes_chapters(re2tal: Any, tmp_path: Path) -> None:
    segments = {"a": [(62.5, 70, "run"), (3723.9, 3724, "jump")], "x/b": [(0.5, 2, "sit")]}
    source = write_annotations(tmp_path / "labels.json", segments)
    writer = f"{EXAMPLES}/labels/chapters.py:ChapterList"
    assert re2tal("export", source, "--format", writer, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out/a.txt").read_text() == "0:00:00 beginning\n0:01:02 run\n1:02:03 jump\n"
    assert (tmp_path / "out/x/b.txt").read_text() == "0:00:00 sit\n"


def test_what_is_no_writer_is_refused(re2tal: Any, tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": []})
    (tmp_path / "own.py").write_text(
        "class Reader:\n    suffixes = ()\n\nclass Needs:\n    def __init__(self, x): ...\n"
    )
    for name in ("Reader", "Needs", "Absent"):
        answer = re2tal("export", source, "--format", f"{tmp_path}/own.py:{name}", "--out", tmp_path / "out")
        assert str(answer).startswith("error: ") and name in str(answer), answer
