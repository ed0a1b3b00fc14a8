"""The experiments on real footage: their configs, a short training, and the arithmetic of their benchmark."""

import json
import math
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.config import ExperimentConfig, building, load_config, override
from re2tal.evaluation import GroundTruth, Predictions, mean_average_precision
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder

REPOSITORY = Path(__file__).resolve().parents[1]
NETWORKS = ("slowfast", "re2slowfast", "swin", "re2swin")
TIOUS = (0.1, 0.3, 0.5, 0.7)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return import_module("ucf_mini")


def _config(network: str) -> ExperimentConfig:
    return load_config(REPOSITORY / "configs" / "ucf_mini" / f"{network}.py")


# The configs


@pytest.mark.parametrize("family", ["slowfast", "swin"])
def test_plain_and_rewired_differ_in_rewiring_alone(family: str) -> None:
    plain, rewired = _config(family).model_dump(), _config(f"re2{family}").model_dump()
    assert not plain["backbone"].pop("reversible") and rewired["backbone"].pop("reversible")
    assert plain.pop("name") != rewired.pop("name")
    assert plain.pop("work_dir") != rewired.pop("work_dir")
    assert plain == rewired


@pytest.mark.parametrize("family", ["slowfast", "swin"])
def test_weights_of_plain_and_rewired_have_the_same_names_and_shapes(family: str) -> None:
    plain, rewired = (
        building.build_detector(_config(name), num_classes=2).state_dict() for name in (family, f"re2{family}")
    )
    assert {name: tensor.shape for name, tensor in plain.items()} == {
        name: tensor.shape for name, tensor in rewired.items()
    }


def test_only_the_last_epoch_is_evaluated() -> None:
    for network in NETWORKS:
        training = _config(network).training
        assert [training.is_evaluated(epoch) for epoch in range(training.epochs)].count(True) == 1


# Training on footage


@pytest.mark.parametrize("network", ["re2slowfast", "re2swin"])
def test_a_few_steps_on_real_footage_run_through(network: str, data: Path, tmp_path: Path) -> None:
    whole = json.loads((data / "ucf_mini" / "ucf_mini.json").read_text())
    videos = {"training": ["ucf_Basketball_g08", "ucf_BasketballDunk_g08"], "validation": ["ucf_Basketball_g04"]}
    chosen = {name: whole["database"][name] for names in videos.values() for name in names}
    assert all(chosen[name]["subset"] == subset for subset, names in videos.items() for name in names)
    (tmp_path / "few.json").write_text(json.dumps({"database": chosen}))
    config = override(
        _config(network),
        [
            f"data.annotations={tmp_path / 'few.json'}",
            f"data.videos={data / 'ucf_mini' / 'videos'}",
            "data.cache_mib=0",
            "data.sampling.num_steps=32",
            "data.sampling.test_overlap=0",
            "training.epochs=2",
            "training.warmup_epochs=0.5",
            "training.batch_size=2",
            "training.eval_from=1",
            "training.amp=none",
            "backbone.reversible=True",
        ],
    )
    folder = RunFolder(tmp_path / "run")
    experiment.train(config, processes=Processes(device=torch.device("cpu")), folder=folder)
    result = experiment.test(config, processes=Processes(device=torch.device("cpu")), folder=folder)
    assert result is not None and 0 <= result.average <= 1
    steps = [json.loads(line) for line in folder.metrics.read_text().splitlines() if '"step"' in line]
    assert steps and all(math.isfinite(step["loss"]) for step in steps)
    assert all(step["reconstruction_error"] < 1e-3 for step in steps)


# The benchmark's arithmetic


def _truth(*, segments: list[tuple[str, str, float, float]]) -> GroundTruth:
    return GroundTruth(**_table(segments))


def _found(*, segments: list[tuple[str, str, float, float]], scores: list[float]) -> Predictions:
    return Predictions(**_table(segments), scores=np.array(scores))


def _table(rows: list[tuple[str, str, float, float]]) -> dict[str, Any]:
    videos, labels = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    return {
        "video_ids": tuple(videos),
        "class_names": tuple(labels),
        "video_index": np.array([videos.index(row[0]) for row in rows]),
        "label_index": np.array([labels.index(row[1]) for row in rows]),
        "segments": np.array([row[2:] for row in rows], np.float64),
    }


def _random_rows(rng: np.random.Generator, count: int) -> list[tuple[str, str, float, float]]:
    starts = rng.uniform(0, 30, count)
    ends = starts + rng.uniform(0.5, 6, count)
    return [
        (f"video{rng.integers(3)}", f"class{rng.integers(2)}", start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def test_a_group_of_all_actions_gives_the_metric_itself(benchmark: ModuleType) -> None:
    rng = np.random.default_rng(0)
    truth = _truth(segments=_random_rows(rng, 20))
    found = _found(segments=_random_rows(rng, 150), scores=rng.integers(0, 20, 150).tolist())
    everything = np.ones(20, bool)
    expected = mean_average_precision(truth, found, tious=TIOUS).per_tiou
    assert benchmark.group_map(truth, found, group=everything, tious=TIOUS) == pytest.approx(expected)


def test_finding_an_action_outside_the_group_counts_neither_way(benchmark: ModuleType) -> None:
    truth = _truth(segments=[("a", "jump", 0, 2), ("a", "jump", 5, 7), ("b", "jump", 0, 2)])
    group = np.array([True, False, False])
    found = _found(
        segments=[("a", "jump", 5, 7), ("b", "jump", 0, 2), ("a", "jump", 9, 11), ("a", "jump", 0, 2)],
        scores=[0.9, 0.8, 0.7, 0.6],
    )
    # The two best are other actions, the third is false, the fourth is the one that is looked for.
    assert benchmark.group_map(truth, found, group=group, tious=(0.5,)) == [0.5]
    assert benchmark.group_map(truth, found, group=~group, tious=(0.5,)) == [1.0]


def test_an_action_is_at_an_edge_if_a_boundary_lies_on_a_cut(benchmark: ModuleType, tmp_path: Path) -> None:
    entry = {"fps": 25, "parts": [{"start": 0.0, "frames": 100}, {"start": 4.0, "frames": 150}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": {"a": entry}}))
    segments = [("a", "jump", start, end) for start, end in [(1, 2), (2.5, 3.97), (4.02, 6), (4.5, 6), (8, 10)]]
    at_edge = benchmark.edge_actions(_truth(segments=segments), path)
    assert at_edge.tolist() == [False, True, True, False, True]


def test_tiles_cover_every_video_with_segments_of_each_class_length(benchmark: ModuleType) -> None:
    truth = _truth(segments=[("a", "jump", 0, 2), ("b", "jump", 0, 2)])
    tiles = benchmark.tiles(truth, lengths={"jump": 2.0}, durations={"a": 6.0, "b": 3.0}, overlap=0.5)
    starts = {video: tiles.segments[tiles.video_index == index, 0].tolist() for index, video in enumerate("ab")}
    assert starts == {"a": [0.0, 1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0]}
    assert (tiles.segments[:, 1] - tiles.segments[:, 0] == 2.0).all()


def test_the_baseline_learns_nothing_but_lengths_from_the_training_videos(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    def entry(subset: str, starts: list[float], length: float) -> dict[str, Any]:
        return {
            "subset": subset,
            "duration": 20.0,
            "fps": 25,
            "parts": [{"start": 0.0, "frames": 500}],
            "annotations": [{"segment": [start, start + length], "label": "jump"} for start in starts],
        }

    database = {"a": entry("training", [1, 5, 9], 2.0), "b": entry("validation", [0, 2, 4, 6, 8, 10, 12, 14], 2.0)}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": database}))
    config = override(_config("slowfast"), [f"data.annotations={path}"])
    result = benchmark.baseline(config)
    assert result["lengths"] == {"jump": 2.0}
    # 8 of the 10 tiles without overlap are actions, whatever their order.
    low, *_, high = sorted(result["mAP"]["all"])
    assert 0 < low <= high <= 1


def test_the_table_has_a_row_for_each_network_with_the_mean_over_its_seeds(benchmark: ModuleType) -> None:
    def run(network: str, value: float) -> dict[str, Any]:
        groups = {"all": [value, value], "edge": [value, value], "inside": [0.0, 0.0]}
        return {"network": network, "mAP": groups, "core_minutes": 10.0, "peak_mib": round(1000 * value)}

    first = {"network": "lengths only", "mAP": {"all": [0.2, 0.1], "edge": [0.0, 0.0], "inside": [0.0, 0.0]}}
    lines = benchmark.table(first, [run("slowfast", 0.4), run("slowfast", 0.5)], tious=(0.3, 0.5)).splitlines()
    assert lines[2] == "| lengths only | 15.0 | 20.0 | 10.0 | 0.0 | 0.0 |  |  |"
    assert lines[3:] == ["| slowfast | 45.0 (40.0, 50.0) | 45.0 | 45.0 | 45.0 | 0.0 | 10.0 | 500 MiB |"]
