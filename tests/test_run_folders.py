"""A run keeps its folder when it goes on with another number of processes, and a test says whose weights it takes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import load_config
from re2tal.experiments.experiment import train
from re2tal.experiments.run_folders import RunFolderError, find_run, find_trained_run, held_alone
from re2tal.training import CheckpointError, Processes, RunFolder, load_checkpoint
from tests.tiny_experiment import make_tiny_experiment

ROOT = Path(__file__).parents[1]
ALONE, OF_TWO = Processes(), Processes(world_size=2)
LAUNCH = [
    *(sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"),
    *("--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"),
]


def files_of(tiny: Path, name: str, *files: str) -> RunFolder:
    """A run's folder with files that are as old as their order says."""
    folder = RunFolder(tiny.parent / "exps" / name)
    folder.checkpoints.mkdir(parents=True)
    for file in files:
        path = folder.checkpoints / file.split("@")[0]
        path.touch()
        os.utime(path, (int(file.split("@")[1]),) * 2)
    return folder


def last_weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_checkpoint(folder.epoch(folder.saved_epochs()[-1]))["training_weights"]
    return weights


def test_a_run_goes_on_with_more_and_with_fewer_processes(tiny: Path, re2tal: Any) -> None:
    """Its batches, and so its weights, but for the order of sums, are those of a run that was left alone."""
    still = ["pyramid.drop_path=0", "backbone.freeze_norms=True"]  # what differs between processes
    options = ["--cfg-options", "training.cosine_epochs=3", *still]

    def train(number: int, epochs: int, *more: str) -> None:
        call = [str(tiny), "--resume", "auto", *more, *options, f"training.epochs={epochs}"]
        if number == 1:
            assert re2tal("train", *call) == 0
        else:
            subprocess.run([*LAUNCH, ROOT / "tools/train.py", *call], check=True, cwd=tiny.parent)

    train(2, 1)
    train(1, 2)
    train(2, 3)
    assert [path.name for path in (tiny.parent / "exps").iterdir()] == ["gpu2_id0"]
    run = RunFolder(tiny.parent / "exps/gpu2_id0")
    assert run.saved_epochs() == [0, 1, 2]
    assert "run 0 began with another number of processes" in run.log.read_text()
    train(1, 3, "--id", "1")
    alone = last_weights(RunFolder(tiny.parent / "exps/gpu1_id1"))
    for name, value in last_weights(run).items():
        torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-4)
    assert re2tal("test", tiny) == 0
    assert f"weights of {run.best}" in run.log.read_text() and (run.path / "metrics.json").is_file()


def test_what_a_run_goes_on_from(tmp_path: Path) -> None:
    config = load_config(make_tiny_experiment(tmp_path))
    own = find_run(config, processes=ALONE)
    assert find_run(config, processes=ALONE, resume="auto") == own  # nothing is there
    of_two = files_of(tmp_path / "tiny.py", "gpu2_id0", "epoch_3.pth@20")
    of_four = files_of(tmp_path / "tiny.py", "gpu4_id0", "last.pth@10", "epoch_9.pth@5")
    files_of(tmp_path / "tiny.py", "gpu8_id1", "last.pth@90")  # another run
    assert find_run(config, processes=ALONE, resume="auto") == of_two
    assert find_run(config, processes=ALONE) == own == find_run(config, processes=ALONE, resume=of_four.last)
    files_of(tmp_path / "tiny.py", "gpu1_id0", "epoch_0.pth@1")
    assert find_run(config, processes=ALONE, resume="auto") == own


def test_what_is_tested_where_runs_of_several_numbers_are_there(tmp_path: Path) -> None:
    config = load_config(make_tiny_experiment(tmp_path))
    own = find_run(config, processes=ALONE)
    assert find_trained_run(config, processes=ALONE) == own
    of_two = files_of(tmp_path / "tiny.py", "gpu2_id0", "best.pth@20")
    assert find_trained_run(config, processes=ALONE) == of_two
    files_of(tmp_path / "tiny.py", "gpu1_id0", "best.pth@10")
    with pytest.raises(RunFolderError, match=r"gpu2_id0/checkpoint/best\.pth is the newest.*--checkpoint .*gpu1_id0"):
        find_trained_run(config, processes=ALONE)
    assert find_trained_run(config, processes=OF_TWO) == of_two


def test_a_second_training_is_kept_out_of_a_folder_that_one_is_at_work_in(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    holding = (
        "import sys\nfrom re2tal.experiments.run_folders import held_alone\nfrom re2tal.training import *\n"
        "from pathlib import Path\n"
        "with held_alone(RunFolder(Path(sys.argv[1])), processes=Processes()):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holding, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=r"at work in .*run; wait.*--id"), held_alone(folder, processes=ALONE):
            pass
        other.kill()
    # Nothing has to be cleared away behind a killed process, and one after the other may train.
    for _ in range(2):
        with held_alone(folder, processes=ALONE):
            pass


def test_a_run_does_not_go_on_with_the_weights_of_other_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_tiny_experiment(tmp_path)
    short = ["training.epochs=1", "training.warmup_epochs=0"]
    folder = find_run(load_config(config, short), processes=ALONE)
    train(load_config(config, short), processes=ALONE, folder=folder, evaluate=False)
    caplog.clear()
    faster = load_config(config, [*short, "training.learning_rate=0.01"])
    train(faster, processes=ALONE, folder=folder, resume="auto", evaluate=False)
    (told,) = [record.getMessage() for record in caplog.records if "settings that differ" in record.getMessage()]
    assert told.endswith("epoch_0.pth: training.learning_rate 0.001 -> 0.01")
    annotations = tmp_path / "annotations.json"
    annotations.write_text(annotations.read_text().replace("flash", "blink"))
    with pytest.raises(CheckpointError, match=r"classes flash, glow \(2\), the data has blink, glow \(2\).*start_from"):
        train(load_config(config, short), processes=ALONE, folder=folder, resume="auto", evaluate=False)
