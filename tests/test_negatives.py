"""Training on partly labelled videos and on negatives, from the command line to the figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.config import ExperimentConfig, read_json_config
from re2tal.data import TrainingSet, annotations_of
from re2tal.training import load_checkpoint
from re2tal.video import write_video
from tests.tiny_experiment import ACTIONS, FPS, NUM_FRAMES, SIZE, make_tiny_experiment

ROOT = Path(__file__).parents[1]
MIXED = ["data.negative_share=0.5", "data.sampling.num_steps=8", "pyramid.max_steps=8", "training.epochs=2"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny experiment, with a video without actions on either side, and two that are labelled in part."""
    path = make_tiny_experiment(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    database = content["database"]
    for name, subset in (("quiet0", "training"), ("quiet1", "validation")):
        frames = np.random.default_rng(7).integers(0, 100, (NUM_FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        write_video(tmp_path / f"videos/{name}.mp4", frames, fps=FPS)
        database[name] = {"subset": subset, "duration": NUM_FRAMES / FPS, "frame": NUM_FRAMES, "annotations": []}
    for name in ("video0", "video4"):
        database[name] |= {"annotations": ACTIONS[:1], "labelled": [[0.0, 2.5]]}  # the second action goes unseen
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return path


def test_a_run_on_partly_labelled_videos_and_negatives(
    re2tal: Any, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("check-data", tiny, "--cfg-options", *MIXED) == 0
    assert "unlabelled minutes" in capsys.readouterr().out
    assert re2tal("explain", tiny, "--cfg-options", *MIXED) == 0
    # Of five videos of 6 s: 26.5 s are labelled, 13 s of them have an action.
    told = "To train on: 0.4 min labelled, 0.2 min of them without an action; 0.1 min not labelled; 50% of the training"
    assert told in capsys.readouterr().out
    assert re2tal("train", tiny, "--cfg-options", *MIXED) == 0
    folder = tiny.parent / "exps/gpu1_id0"
    log = (folder / "log.txt").read_text()
    assert "tiny: 8 training clips, 4 of them without an action, 2 classes" in log
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(record["loss"]) for record in records if record["kind"] == "step")
    capsys.readouterr()
    assert re2tal("test", tiny, "--cfg-options", *MIXED) == 0
    shown = capsys.readouterr().out
    assert "predictions where nobody has looked left out" in shown and "false alarms" in shown
    assert json.loads((folder / "metrics.json").read_text())["false_alarms"]["hours_empty"] == pytest.approx(6 / 3600)
    assert re2tal("report", folder) == 0
    page = (folder / "report.html").read_text()
    assert '"unjudged"' in page and "Labelled in part: 1 of 3 videos." in page and "key-bar unjudged" in page


def test_configs_and_checkpoints_from_before_there_were_negatives_load(re2tal: Any, tiny: Path) -> None:
    assert re2tal("train", tiny, "--cfg-options", "training.epochs=1") == 0
    checkpoint = load_checkpoint(tiny.parent / "exps/gpu1_id0/checkpoint/epoch_0.pth")
    config = json.loads(checkpoint["config"])
    assert config["data"].pop("negative_share") == 0
    old = read_json_config(json.dumps(config), source="old.pth")
    assert isinstance(old, ExperimentConfig) and old.data.negative_share == 0
    assert len(TrainingSet(old.data, old.augment, annotations=annotations_of(old.data))) == 4


def test_the_demo_trains_on_negatives(re2tal: Any, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    options = ["training.epochs=1", "training.warmup_epochs=0", "training.batch_size=2", "training.eval_from=0"]
    counts = ["--num-train", 2, "--num-test", 1, "--num-negatives", 2]
    assert re2tal("demo", "--out", out, "--seed", 1, *counts, "--cfg-options", *options) == 0
    assert "4 training clips, 2 of them without an action" in (out / "log.txt").read_text()
    assert json.loads((out / "metrics.json").read_text())["false_alarms"]["recall"] == 0.9


def test_two_processes_take_the_steps_of_one(re2tal: Any, tiny: Path) -> None:
    """Also where one of them has no point that counts: both divide by the positive points of all."""
    options = [
        *MIXED,
        "training.epochs=1",
        "training.batch_size=4",
        "training.log_every=1",
        "backbone.freeze_norms=True",
    ]
    options += ["pyramid.drop_path=0"]
    arguments = [tiny, "--not_eval", "--cfg-options", *options]
    assert re2tal("train", *arguments) == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    launch += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"]
    subprocess.run([*launch, ROOT / "tools/train.py", *arguments], check=True, cwd=tiny.parent)
    records = [
        [json.loads(line) for line in (tiny.parent / f"exps/gpu{count}_id0/metrics.jsonl").read_text().splitlines()]
        for count in (1, 2)
    ]
    one, two = ([(record["loss"], record["gradient_norm"]) for record in part] for part in records)
    assert len(one) == 2
    np.testing.assert_allclose(one, two, rtol=1e-4)
