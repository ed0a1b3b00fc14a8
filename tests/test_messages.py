"""What a command says when something is wrong is short, whatever has got into it, and names the fix."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from re2tal.common.untrusted import brief, readable, some
from tests.tiny_experiment import make_tiny_experiment

LONGEST = 5000
"""Characters: two messages, and what stands around them."""
MANY = 10_000
LONG = "x" * 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_experiment(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    """A config with its videos, to be spoilt."""
    shutil.copytree(made.parent, tmp_path / "tiny")
    return tmp_path / "tiny/tiny.py"


def flooded(tiny: Path) -> dict[str, list[object]]:
    """Calls with ten thousand of something, or with one that is huge; each by what it is."""
    folder = tiny.parent
    names = [f"name number {number}" for number in range(MANY)]

    def file(name: str, content: object) -> Path:
        path = folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def video(subset: str, labels: list[str]) -> dict[str, Any]:
        rows = [{"segment": [1.0, 2.0], "label": label} for label in labels]
        return {"subset": subset, "duration": 6.0, "annotations": rows}

    content = "\n".join(["from re2tal.config import ExperimentConfig", "config = ExperimentConfig("])
    config = file("many.py", content + ", ".join(f"setting_{number}=1" for number in range(MANY)) + ")")
    subsets = file("subsets.json", {"database": {name: video(f"subset of {name}", ["a"]) for name in names}})
    classes = file("classes.json", {"database": {"video0": video("training", names)}})
    table = file("table.csv", ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    fields = file("fields.csv", ",".join(["video,start,end,label", *names]) + "\nvideo0,1,2,a" + ",1" * MANY + "\n")
    found = file("found.json", {"results": {LONG: [{"segment": [2, 1], "label": "a", "score": 1}]}})
    truth = folder / "annotations.json"
    weights = folder / "weights.safetensors"
    save_file({f"layer{number}.{'x' * 90}.weight": torch.zeros(1) for number in range(MANY)}, weights)
    settings = ["--cfg-options", f"data.annotations={classes}", "data.num_classes=3"]
    videos = ["--videos", folder / "videos", "--out", folder / "out.json"]
    return {
        "unknown settings": ["train", config],
        "settings to replace": ["train", tiny, "--cfg-options", *(f"training.{LONG}{n}=1" for n in range(3))],
        "a huge value": ["plan", tiny, "--cfg-options", f"training.epochs={LONG}"],
        "a huge path": ["train", LONG],
        "a huge word": ["train", tiny, "--seed", LONG],
        "a huge option": ["test", tiny, f"--{LONG}"],
        "a huge command": [LONG],
        "classes to train on": ["train", tiny, *settings],
        "classes to test on": ["test", tiny, *settings],
        "classes to explain": ["show", tiny, "--cfg-options", f"backbone.{LONG}=1"],
        "a subset": ["evaluate", "--ground-truth", subsets, "--predictions", found],
        "a huge id": ["evaluate", "--ground-truth", truth, "--predictions", found],
        "a huge subset": ["diagnose", "--ground-truth", truth, "--predictions", found, "--subset", LONG],
        "thresholds": ["evaluate", "--ground-truth", truth, "--predictions", found, "--tious", "2," * MANY],
        "columns": ["import", table, *videos],
        "columns that are named": ["import", fields, *videos, "--columns", "video=nothing"],
        "fields": ["import", fields, *videos, "--only", "nothing=1"],
        "groups": ["import", fields, *videos, "--group", "nothing"],
        "a huge source": ["import", LONG, *videos],
        "a huge format": ["import", fields, *videos, "--format", LONG],
        "subsets": ["init", folder / "new", "--annotations", subsets, "--videos", folder],
        "a huge folder": ["init", LONG],
        "tensors to import": ["import-weights", weights, folder / "out.safetensors"],
        "tensors to fit": ["import-weights", weights, folder / "out.safetensors", "--config", tiny],
        "tensors to test": ["test", tiny, "--checkpoint", weights],
        "tensors to predict with": [
            "predict", folder / "videos", "--checkpoint", weights, "--config", tiny, "--out", folder / "predicted",
        ],
        "a huge checkpoint": ["predict", folder / "videos", "--checkpoint", LONG, "--out", folder / "predicted"],
        "a huge video": ["predict", LONG, "--checkpoint", weights, "--out", folder / "predicted"],
        "a huge config": ["extract", f"{LONG}.py", "--out", folder / "extracted"],
        "a huge page": ["report", LONG],
        "a huge class": ["report", found, "--ground-truth", truth, "--out", folder / "page.html"],
        "a huge network": ["rewire", LONG],
        "a huge memory": ["plan", tiny, "--memory", LONG],
        "a huge file": ["check-data", tiny, "--cfg-options", f"data.missing={LONG}"],
        "a huge list": ["check-data", LONG],
        "another config": ["finetune", tiny, "--cfg-options", f"x={LONG}"],
        "a huge demo": ["demo", "--out", LONG],
        "a huge rate": ["explain", tiny, "--fps", LONG],
    }  # fmt: skip


def test_no_command_floods_the_terminal(tiny: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    floods = []
    for what, call in flooded(tiny).items():
        status = re2tal(*call)
        shown = capsys.readouterr()
        told = f"{status if isinstance(status, str) else ''}{shown.out}{shown.err}"
        assert status and "Traceback" not in told, what
        if not 20 < len(told) < LONGEST:
            floods.append(f"{what}: {len(told)} characters, {told[:300]}")
    assert not floods


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    message = readable(f"{'what is wrong'} {LONG} {'what to do'}")
    assert message.startswith("what is wrong x") and message.endswith("x what to do")
    assert len(message) < 2100 and "characters" in message
    assert readable("as it\nis\x1b") == "as it\nis\\x1b"


def test_lists_name_a_few_and_tell_how_many_there_are() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(str(number) for number in range(MANY)) == "0, 1, 2, 3, 4 and 9995 more"
    assert len(some([LONG] * MANY)) < 1000
    assert brief("short") == "short" and brief("0123456789", length=4) == "01[... 6 characters ...]89"


def test_import_names_some_of_very_many_classes_and_cuts_a_huge_one(
    tiny: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table, videos = tiny.parent / "labels.csv", tiny.parent / "videos"
    rows = [f"video{number % 2},1,2,{LONG if number == 1 else number}" for number in range(MANY)]
    table.write_text("\n".join(["video,start,end,label", *rows]))
    assert re2tal("import", table, "--videos", videos, "--out", tiny.parent / "a.json") == 0
    shown = capsys.readouterr().out
    assert "and 9700 more, see --json" in shown and len(shown) < 50_000
