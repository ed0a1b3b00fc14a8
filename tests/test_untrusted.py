"""Files of others execute nothing, names in them lead nowhere else, and what is shown of them is only shown."""

import csv
import io
import json
import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from re2tal.cli.reporting import sources_of_run
from re2tal.common.atomic import atomic_text
from re2tal.common.terminal import print_table
from re2tal.common.untrusted import UnsafeNameError, path_inside, shown, visible, visible_lines
from re2tal.config import ConfigError, load_config, override
from re2tal.data import read_features
from re2tal.data.annotations import read_annotations
from re2tal.detections.video_scores import CuhkConfig, UntrimmedNetConfig
from re2tal.evaluation import read_ground_truth, read_predictions
from re2tal.inference import load_trained
from re2tal.inference.outputs import csv_text, vtt_text
from re2tal.labels import ReadOptions, read_sources
from re2tal.report import write_report
from re2tal.training import load_checkpoint, log, logging_to
from re2tal.weights import read_weights
from tests.tiny_experiment import make_tiny_experiment

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe\ud800\n[bold]x[/bold]"


class Marker:
    """Makes a file when it is unpickled by the book."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def _torch_zip(path: Path, marker: Marker) -> None:
    torch.save({"state_dict": {"patch_embed.x": torch.ones(1)}, "meta": marker}, path)


def _torch_legacy(path: Path, marker: Marker) -> None:
    torch.save({"weights": marker}, path, _use_new_zipfile_serialization=False)


def _torch_tar(path: Path, marker: Marker) -> None:
    """As torch wrote before 0.2."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            raw = pickle.dumps(marker)
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))


def _bare(path: Path, marker: Marker) -> None:
    path.write_bytes(pickle.dumps(marker))


def _array(path: Path, marker: Marker) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([marker], dtype=object), allow_pickle=True)


def _arrays(path: Path, marker: Marker) -> None:
    names = ("video_id", "t_start", "t_end", "label", "score")
    with path.open("wb") as file:
        np.savez(file, **{name: np.array([marker], dtype=object) for name in names})


WRITERS = (_torch_zip, _torch_legacy, _torch_tar, _bare, _array, _arrays)
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": ("x.pth", read_weights),
    "checkpoint": ("x.pth", load_checkpoint),
    "detector": ("x.pth", load_trained),
    "safetensors": ("x.safetensors", read_weights),
    "features": ("x.safetensors", read_features),
    "array of scores": ("x.npy", lambda path: UntrimmedNetConfig(path=path).read()),
    "JSON of scores": ("x.json", lambda path: CuhkConfig(path=path).read()),
    "predictions": ("x.json", read_predictions),
    "predictions in arrays": ("x.npz", read_predictions),
    "annotations": ("x.json", read_annotations),
    "ground truth": ("x.json", lambda path: read_ground_truth(path, subset="x")),
    "archive of annotations": ("x.zip", read_annotations),
    "own data": ("x.json", lambda path: read_sources([path], format_=None, options=ReadOptions())),
    "run": ("detections.json", lambda path: write_report(sources_of_run(path.parent), out=path.parent / "r.html")),
}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("name", READERS)
def test_no_file_executes_anything(tmp_path: Path, name: str, write: Callable[[Path, Marker], None]) -> None:
    file, read = READERS[name]
    marker = Marker(tmp_path / "marker")
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / file
    write(path, marker)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert type(caught.value).__module__.startswith("re2tal.") and str(path) in str(caught.value)
    assert not marker.path.exists()


def test_the_marker_would_be_made() -> None:
    """Or the test above would show nothing."""
    made: list[object] = []

    class Caught(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return made.append

    Caught(io.BytesIO(pickle.dumps(Marker(Path("x"))))).load()
    assert made == ["x"]


@pytest.mark.parametrize("file", ["metrics.jsonl", "config.json", "checkpoint/best.pth"])
def test_a_run_executes_nothing(tmp_path: Path, file: str) -> None:
    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    (run / "detections.json").write_text('{"results": {}}')
    _bare(run / file, Marker(tmp_path / "marker"))
    try:
        write_report(sources_of_run(run), out=run / "report.html")
    except ValueError as error:
        assert str(run / file) in str(error)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "key", ["name", "data.annotations", "training.epochs", "data.crop_size", "backbone.pretrained"]
)
def test_overrides_are_not_evaluated(tmp_path: Path, key: str) -> None:
    config = load_config(make_tiny_experiment(tmp_path / "tiny"))
    code = f"__import__('os').mkdir('{tmp_path / 'marker'}')"
    for text in (code, f"({code},)", f"[{code}]", f"{{1: {code}}}", f"(lambda: {code})()"):
        try:
            changed = override(config, [f"{key}={text}"])
        except ConfigError:
            continue
        assert text == code and code in str(changed.model_dump())  # as text
    assert not (tmp_path / "marker").exists()


NAMES = ("../x", "/etc/passwd", "a/../../x", "..\\x", "\\x", "x\0", "x\ny", "x" * 300, "", "\ud800", "link/x", "linked")


@pytest.mark.parametrize("name", NAMES)
def test_names_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (tmp_path / "x").write_text("secret")
    (folder / "link").symlink_to(tmp_path)
    (folder / "linked").symlink_to(tmp_path / "x")
    with pytest.raises(UnsafeNameError):
        path_inside(folder, name)
    if "link" in name:
        assert path_inside(folder, name, allow_links=True).read_text() == "secret"


def test_links_that_stay_and_folders_that_are_links_are_fine(tmp_path: Path) -> None:
    (tmp_path / "store/deep").mkdir(parents=True)
    (tmp_path / "store/deep/a.mp4").write_text("a")
    (tmp_path / "store/b.mp4").symlink_to("deep/a.mp4")
    (tmp_path / "videos").symlink_to(tmp_path / "store")
    assert [path_inside(tmp_path / "videos", name).read_text() for name in ("b.mp4", "deep/a.mp4")] == ["a", "a"]


def _rename(tiny: Path, name: str) -> None:
    path = tiny.parent / "annotations.json"
    content = json.loads(path.read_text())
    content["database"] = {name if key == "video0" else key: entry for key, entry in content["database"].items()}
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["../secret", "link"])
def test_commands_refuse_names_that_leave_the_folder(tmp_path: Path, re2tal: Any, name: str) -> None:
    tiny = make_tiny_experiment(tmp_path / "tiny")
    video = tiny.parent / "videos/video0.mp4"
    video.rename(tmp_path / "tiny/secret.mp4")
    (tiny.parent / "videos/link.mp4").symlink_to(tmp_path / "tiny/secret.mp4")
    _rename(tiny, name)
    seen = str(re2tal("train", tiny, "--cfg-options", "training.epochs=1"))
    assert f"annotations.json, video '{name}': its file" in seen and "data.allow_links=True" in seen
    assert re2tal("check-data", tiny) == 1
    assert "its file" in str(re2tal("extract", tiny, "--out", tmp_path / "out"))
    assert not list(tmp_path.rglob("*.safetensors"))
    if name == "link":
        assert re2tal("check-data", tiny, "--cfg-options", "data.allow_links=True") == 0


def test_import_follows_links_out_of_the_folder_only_if_told(
    tmp_path: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny_experiment(tmp_path / "tiny")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/loop").symlink_to(tmp_path / "mine")
    for name in ("video0", "video1"):
        (tmp_path / f"mine/{name}.mp4").symlink_to(tiny.parent / f"videos/{name}.mp4")
    (tmp_path / "l.csv").write_text("video,start,end,label\nvideo0,1,2,run\nvideo1,1,2,run\n")
    call = ("import", tmp_path / "l.csv", "--videos", tmp_path / "mine", "--out", tmp_path / "a.json", "--split", 0.5)
    assert re2tal(*call) == 2 and "--allow-links follows them" in capsys.readouterr().err
    assert re2tal(*call, "--allow-links") == 0
    init = ("init", tmp_path / "e", "--annotations", tmp_path / "a.json", "--size", "small")
    assert re2tal(*init) == 2 and "--allow-links" in capsys.readouterr().err
    assert re2tal(*init, "--allow-links") == 0
    assert load_config(tmp_path / "e/config.py").data.allow_links


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert visible(ESCAPES) == (r"\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe\ud800\n[bold]x[/bold]")
    assert visible_lines("a\n\tb\r\x1b") == "a\n\tb\\r\\x1b"
    assert len(shown([["x" * 10**6] * 1000] * 1000)) <= 100


def test_tables_show_names_as_they_are() -> None:
    rows = [["tIoU", "mean"], [ESCAPES, "1"]]
    for is_terminal in (True, False):
        file = io.StringIO()
        console = Console(file=file, force_terminal=is_terminal, color_system=None, width=200, markup=False)
        print_table(rows, title="[red]title\x1b", console=console)
        assert visible(ESCAPES) in file.getvalue() and r"[red]title\x1b" in file.getvalue()


def test_logs_and_errors_hold_no_control_characters(
    tmp_path: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path / "log.txt"):
        # Without half a surrogate pair, which test processes cannot send each other in what they captured.
        log.warning("skipped %s", ESCAPES.replace("\ud800", ""))
    name = ESCAPES.replace("\ud800", "").replace("/", "")
    seen = str(re2tal("evaluate", "--ground-truth", tmp_path / name, "--predictions", "x"))
    for text in ((tmp_path / "log.txt").read_text(), capsys.readouterr().err, seen):
        assert "\\x1b[31mred" in text and not set(text) & set("\x1b\x07\x9b\u202e\ud800")


def test_tables_and_subtitles_hold_no_control_characters(tmp_path: Path) -> None:
    rows = [{"segment": [0.0, 1.0], "label": "=" + ESCAPES, "score": 0.5}]
    text = csv_text(ESCAPES, rows)
    (_, cells) = csv.reader(io.StringIO(text, newline=""))
    assert cells[3].startswith("'=") and not set(text + vtt_text(rows)) & set("\x1b\x07\x9b")
    with atomic_text(tmp_path / "x.csv") as file:  # half a surrogate pair does not stop it
        file.write(text)
    assert r"\ud800" in (tmp_path / "x.csv").read_text()


def test_names_that_the_terminal_cannot_write_do_not_stop_a_command(
    re2tal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"subset": "validation", "duration": 9, "annotations": [{"segment": [1, 2], "label": "日\ud800"}]}
    (tmp_path / "a.json").write_text(json.dumps({"database": {"a": entry}}))
    row = {"segment": [1, 2], "label": "日\ud800", "score": 1}
    (tmp_path / "p.json").write_text(json.dumps({"results": {"a": [row]}}))
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    call = ("evaluate", "--ground-truth", tmp_path / "a.json", "--predictions", tmp_path / "p.json", "--per-class")
    assert re2tal(*call) == 0
    sys.stdout.flush()
    assert rb"\u65e5\ud800" in raw.getvalue()
