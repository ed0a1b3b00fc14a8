"""benchmarks/negatives.py: what it compares, and that it goes on where it was stopped."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def negatives() -> Any:
    return import_module("negatives")


def _runs(negatives: Any) -> list[Any]:
    return [
        negatives.Run(seed=seed, trained_on_negatives=with_negatives, videos=8, negatives=4, epochs=4)
        for seed in (1, 2)
        for with_negatives in (False, True)
    ]


def test_both_ways_take_the_same_number_of_steps(negatives: Any) -> None:
    for videos, without, epochs in ((240, 120, 8), (8, 4, 4)):
        steps = []
        for with_negatives in (False, True):
            run = negatives.Run(
                seed=1, trained_on_negatives=with_negatives, videos=videos, negatives=without, epochs=epochs
            )
            options = dict(option.split("=") for option in run.options(batch_size=4))
            share = float(options["data.negative_share"])
            clips = videos + round(videos * share / (1 - share))
            steps.append(int(options["training.epochs"]) * (clips // 4))
            assert int(options["training.eval_from"]) == int(options["training.epochs"]) - 1
        assert steps[0] == steps[1]


def test_runs_that_are_done_are_taken_from_the_file(
    negatives: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    def measure(run: Any, *, out: Path) -> dict[str, Any]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(run)
        alarms = {"per_hour": 10.0 * run.seed, "per_hour_empty": 5.0}
        found = {f"{recall:g}": alarms for recall in negatives.RECALLS}
        return {**vars(run), "average_mAP": 0.5, "false_alarms": found, "core_minutes": 1.0}

    monkeypatch.setattr(negatives, "measure", measure)
    monkeypatch.setattr(negatives, "make_demo_set", lambda folder, **_: None)
    with pytest.raises(KeyboardInterrupt):
        negatives.run_all(_runs(negatives), out=tmp_path, jobs=1)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3
    del done[:]
    results = negatives.run_all(_runs(negatives), out=tmp_path, jobs=1)
    assert [run.seed for run in done] == [2] and len(results) == 4
    assert results == [json.loads(json.dumps(result)) for result in results]
    assert "| no | 50.0 (50.0, 50.0) | 15.0 (10.0, 20.0) |" in negatives.table(results)
    assert negatives.run_all(_runs(negatives), out=tmp_path, jobs=1) == results
