"""Test sets that do not fall into equal parts: any number of processes finds what one finds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import building, load_config
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder, distributed_processes, save_checkpoint, seed_all
from tests.processes import in_processes
from tests.tiny_experiment import make_tiny_experiment

COUNTS = (5, 2, 1)
"""Videos, of two windows each."""


def make(folder: Path) -> None:
    """A config, weights, and annotations for each number of test videos."""
    path = make_tiny_experiment(folder)
    database = json.loads((folder / "annotations.json").read_text())["database"]
    for count in COUNTS:
        changed = {
            name: {**video, "subset": "validation" if index < count else "training"}
            for index, (name, video) in enumerate(database.items())
        }
        (folder / f"annotations{count}.json").write_text(json.dumps({"database": changed}))
    seed_all(0)
    config = load_config(path)
    weights = building.build_detector(config, num_classes=2).state_dict()
    about = {"config": config.model_dump_json(), "class_names": ["flash", "glow"]}
    save_checkpoint(folder / "weights.pth", {"weights": weights, **about})


def find(folder: Path, processes: Processes, batch_size: int) -> None:
    """Test on each number of videos; the main process writes detections and metrics."""
    for count in COUNTS:
        changes = [f"data.annotations={folder}/annotations{count}.json", f"training.batch_size={batch_size}"]
        out = RunFolder(folder / f"{processes.world_size}_{count}_{batch_size}")
        config = load_config(folder / "tiny.py", changes)
        assert experiment.test(config, processes=processes, folder=out, checkpoint=folder / "weights.pth") is not None


def work(rank: int, folder: str) -> None:
    with distributed_processes() as processes:
        find(Path(folder), processes, 1)
        find(Path(folder), processes, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one, two and three processes have tested."""
    folder = tmp_path_factory.mktemp("uneven")
    make(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    find(folder, Processes(), 1)
    find(folder, Processes(), 4)
    torch.set_num_threads(threads)
    for world_size in (2, 3):
        in_processes(world_size, work, str(folder))
    return folder


def found(folder: Path, world_size: int, count: int, batch_size: int) -> dict[str, Any]:
    content = json.loads((folder / f"{world_size}_{count}_{batch_size}/detections.json").read_text())
    results: dict[str, Any] = content["results"]
    return results


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_processes_writes_what_one_writes(folder: Path, world_size: int, count: int) -> None:
    alone = found(folder, 1, count, 1)
    assert len(alone) == count and all(len(segments) > 10 for segments in alone.values())
    assert found(folder, world_size, count, 1) == alone
    metrics = (folder / f"{world_size}_{count}_1/metrics.json").read_text()
    assert metrics == (folder / f"1_{count}_1/metrics.json").read_text()


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_other_numbers_of_clips_at_once_change_rounding_alone(folder: Path, world_size: int, count: int) -> None:
    # One process takes 4 clips at once, two take 2, three take 1.
    alone, shared = found(folder, 1, count, 4), found(folder, world_size, count, 4)
    assert alone.keys() == shared.keys()
    for name in alone:
        for first, second in zip(alone[name][:10], shared[name][:10], strict=True):
            assert first["label"] == second["label"]
            assert first["segment"] == pytest.approx(second["segment"], abs=1e-3)
            assert first["score"] == pytest.approx(second["score"], rel=1e-3)
