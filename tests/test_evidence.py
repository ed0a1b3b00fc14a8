"""The comparison of ways at equal processor time: what each of them trains, when it stops, and its table."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from re2tal.config.building import build_detector

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    return import_module("evidence")


def test_every_way_is_a_detector(evidence: ModuleType, tmp_path: Path) -> None:
    trained: dict[str, tuple[bool, int]] = {}
    for name, way in evidence.WAYS.items():
        case = evidence.Case("ucf_mini", name, 3, 1.0)
        masked = way.start.startswith("masked")
        weights = (f"backbone.pretrained={evidence.masked_weights(case, tmp_path)}",) if masked else ()
        config = evidence.config_of(case, network=way.network, options=(*weights, *way.options), out=tmp_path)
        assert config.training.seed == 3 and config.training.anneal_epochs == (500 if "annealed" in name else 0)
        backbone = build_detector(config, num_classes=2).backbone
        count = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
        trained[name] = (bool(config.backbone.reversible), count)
        assert config.backbone.pretrained is None or ("rewired" in config.backbone.pretrained.stem) == (
            way.start == "masked rewired"
        )
    rewired = {name for name, (is_rewired, _) in trained.items() if is_rewired}
    assert rewired == {name for name in trained if "rewired" in name or "annealed" in name}
    adapters = {name for name, (_, count) in trained.items() if count < 30_000}
    assert adapters == {name for name in trained if "adapters" in name}


def test_training_lasts_as_long_as_its_budget(evidence: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second of a clock that stands still otherwise; schedules go by the share that is used."""
    now, places, annealed = [100.0], [], []

    class Loader:
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    def step(batches: list[int]) -> dict[str, float]:
        now[0] += 1
        return {"loss": 0.0}

    trainer: Any = SimpleNamespace(
        loader=Loader(),
        model=SimpleNamespace(train=lambda: None),
        schedule=SimpleNamespace(total_steps=1000, set_step=places.append),
        annealing=SimpleNamespace(set_step=annealed.append),
        step=step,
    )
    monkeypatch.setattr(evidence.time, "process_time", lambda: now[0])
    assert evidence.spend(trainer, [], seconds=8.0) == 8
    assert places == annealed == [0, 125, 250, 375, 500, 625, 750, 875, 1000]
    assert trainer.loader.epoch == 2


def row(way: str, seed: int, share: float, **changes: Any) -> dict[str, Any]:
    found = {"data": "demo", "way": way, "seed": seed, "seconds": 5.0, "steps": 10 + seed}
    found |= {"backbone_trained": 20_000, "backbone_parameters": 500_000, "metrics": {"average_mAP": share}}
    return found | changes


def test_results_are_taken_up_and_shown(
    evidence: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("masked, full", 2, 0.3), row("full", 1, 0.2), row("masked, full", 1, 0.4)]
    rows += [{"data": "demo", "way": "masked plain", "seed": seed, "seconds": 2.0, "steps": 9} for seed in (1, 2)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = [
        "| demo | full | 0.02 of 0.50 M | 5 | 11 | 20.0 | 20.0 |",
        "| demo | masked, full | 0.02 of 0.50 M | 2 + 5 | 12 | 35.0 (30.0 to 40.0) | 40.0, 30.0 |",
    ]
    monkeypatch.setattr("sys.argv", ["evidence.py", "--table", "--out", str(tmp_path)])
    evidence.main()
    assert capsys.readouterr().out.splitlines()[2:] == expected
    # All of it is there, so nothing is trained: there are no videos to train on.
    (tmp_path / "demo_seed1").mkdir()
    (tmp_path / "demo_seed1" / "annotations.json").write_text("{}")
    options = ["--sets", "demo", "--seeds", "1", "--ways", "full", "masked, full", "--seconds", "5"]
    options += ["--masking-seconds", "2"]
    monkeypatch.setattr("sys.argv", ["evidence.py", *options, "--out", str(tmp_path)])
    evidence.main()
    assert [line.split("|")[6] for line in capsys.readouterr().out.splitlines()[2:]] == [" 20.0 ", " 40.0 "]
