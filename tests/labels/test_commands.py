"""`re2tal import` and `re2tal init`, as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import load_config
from tests.labels.conftest import make_videos
from tests.labels.writers import write_csv, write_elan

SEGMENTS = {"a": [(0.5, 2.0, "Run"), (1.25, 3.5, "Jump")], "b": [(0.0, 2.0, "Jump")], "c": [(7.0, 9.0, "Run")]}


def test_from_videos_and_labels_to_detections(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/own_data.md leads, with tiny videos in nested folders."""
    monkeypatch.chdir(tmp_path)
    videos = make_videos(tmp_path / "my videos", {f"cage {name}/{name}.mp4": 6.0 for name in "abc"})
    labels = write_elan(tmp_path, {f"{name}": [(0.5, 1.5, "run"), (2.0, 3.0, "sit")] for name in "abc"})
    assert re2tal("import", labels, "--videos", videos, "--group", "cage (.)", "--split", 0.34) == 0
    shown = capsys.readouterr()
    assert "Read elan (3): 6 annotations, 6 kept" in shown.out
    assert "Next: re2tal init my_experiment --annotations annotations.json" in shown.out
    assert re2tal("init", "mine", "--size", "small") == 0
    assert "re2tal check-data mine/config.py" in capsys.readouterr().out
    assert re2tal("check-data", "mine/config.py") == 0
    reduced = ["training.epochs=1", "training.warmup_epochs=0", "training.batch_size=1", "training.eval_from=0"]
    assert re2tal("train", "mine/config.py", "--cfg-options", *reduced) == 0
    capsys.readouterr()
    assert re2tal("test", "mine/config.py") == 0
    assert "mean" in capsys.readouterr().out
    run = tmp_path / "mine/exps/gpu1_id0"
    (video,) = json.loads((run / "detections.json").read_text())["results"]
    assert video in {f"cage {name}/{name}" for name in "abc"}


def test_import_prints_one_line_of_json_and_nothing_else(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_csv(tmp_path, {**SEGMENTS, "z": [(1.0, 2.0, "Run")]})
    out, problems = tmp_path / "out.json", tmp_path / "problems.jsonl"
    status = re2tal("import", labels, "--videos", clips, "--out", out, "--list", problems, "--json")
    assert status == 0
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    result = json.loads(line)
    assert (result["out"], result["num_read"], result["num_segments"], result["num_dropped"]) == (str(out), 5, 4, 1)
    (reason,) = result["problems"]
    assert (reason["reason"], reason["kept"], reason["count"]) == ("unknown video", False, 1)
    assert reason["examples"][0]["where"] == f"{labels}, line 6"
    (told,) = [json.loads(line) for line in problems.read_text().splitlines()]
    assert told["reason"] == "unknown video" and told["where"] == f"{labels}, line 6"
    assert "3 of 3 videos" in shown.err


def test_import_tells_what_it_left_out(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_csv(tmp_path, {**SEGMENTS, "z": [(1.0, 2.0, "Run")], "d": [(11.0, 13.0, "Run")]})
    assert re2tal("import", labels, "--videos", clips, "--out", tmp_path / "out.json") == 0
    shown = capsys.readouterr().out
    assert "Read csv (1): 6 annotations, 5 kept" in shown
    assert f"1      left out  unknown video         {labels}, line 6: no file in the folder" in shown
    assert f"1      kept      clipped to the video  {labels}, line 7: 'Run' from 11 to 13 s" in shown


def test_import_ends_with_1_and_writes_nothing_if_nothing_can_be_used(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_csv(tmp_path, {"z": [(1.0, 2.0, "Run")]})
    assert re2tal("import", labels, "--videos", clips, "--out", tmp_path / "out.json") == 1
    shown = capsys.readouterr()
    assert "unknown video" in shown.out and "nothing was written" in shown.err
    assert not (tmp_path / "out.json").exists()
    assert re2tal("import", labels, "--videos", clips, "--out", tmp_path / "out.json", "--json") == 1
    assert json.loads(capsys.readouterr().out)["out"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.csv"], "there is no gone.csv"),
        (["{labels}", "--videos", "gone"], "there is no folder gone"),
        (["{labels}", "--format", "elan"], "not readable XML"),
        (["{labels}", "--columns", "begin=start"], "--columns takes ROLE=COLUMN with one of the roles video, start"),
        (["{labels}", "--only", "label"], "--only takes FIELD=VALUE"),
        (["{labels}", "--label", "kind"], "no annotation has a field 'kind'"),
        (["{labels}", "--classes", "gone.txt"], "there is no class list gone.txt"),
        (["{labels}", "--out", "{labels}"], "is there already; give another --out, or --overwrite"),
        (["{labels}", "--out", "{labels}/x.json"], "which is no folder"),
        (["{labels}", "--split", "1.5"], "split"),
        (["{labels}", "--format", "word"], "format"),
    ],
)
def test_a_wrong_import_ends_with_2_and_one_line(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    labels = write_csv(tmp_path, SEGMENTS)
    given = [argument.format(labels=labels) for argument in arguments]
    defaults = [] if "--videos" in given else ["--videos", clips]
    defaults += [] if "--out" in given else ["--out", tmp_path / "out.json"]
    assert re2tal("import", *given, *defaults) == 2
    shown = capsys.readouterr()
    assert message in shown.err + shown.out and "Traceback" not in shown.err
    assert not (tmp_path / "out.json").exists()


def test_init_finds_annotations_and_does_not_overwrite(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re2tal("init", "mine") == 2
    assert "there is no mine/annotations.json nor annotations.json; write one with re2tal import" in (
        capsys.readouterr().err
    )
    labels = write_csv(tmp_path, SEGMENTS)
    assert re2tal("import", labels, "--videos", clips, "--out", "mine/annotations.json") == 0
    capsys.readouterr()
    assert re2tal("init", "mine", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert (result["config"], result["size"]) == ("mine/config.py", "small")
    config = load_config("mine/config.py")
    assert config.name == "mine" and config.data.sampling.num_steps == result["num_steps"]
    assert config.data.videos.resolve() == clips.resolve()
    for arguments, message in (
        ([], "mine/config.py is there already"),
        (["--overwrite", "--annotations", "gone.json"], "no file of annotations gone.json"),
        (["--overwrite", "--pretrained", "gone.pth"], "no file of weights gone.pth"),
        (["--overwrite", "--pretrained", labels, "--size", "small"], "--pretrained is for --size large"),
        (["--overwrite", "--videos", "gone"], "there is no folder gone"),
    ):
        assert re2tal("init", "mine", *arguments) == 2
        assert message in capsys.readouterr().err
    assert re2tal("init", "mine", "--overwrite", "--size", "medium") == 0
