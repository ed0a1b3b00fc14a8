"""The benchmark that compares plain and rewired networks: its table, and that the compared networks are comparable."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from re2tal.config import load_config

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return import_module("claim_in_small")


@pytest.mark.parametrize("data", ["demo", "ucf_mini"])
@pytest.mark.parametrize("network", ["slowfast", "swin"])
def test_a_pair_has_the_same_data_budget_and_sizes(data: str, network: str) -> None:
    folder = REPOSITORY / "configs" / data
    plain, rewired = (load_config(folder / f"{name}.py") for name in (network, f"re2{network}"))
    same = ("pyramid", "head", "augment", "postprocess", "evaluation", "training")
    assert all(getattr(plain, part) == getattr(rewired, part) for part in same)
    assert rewired.backbone == plain.backbone.model_copy(update={"reversible": "auto"})


def test_the_table_has_mean_and_spread_of_each_network(benchmark: ModuleType) -> None:
    def row(network: str, seed: int, mean: float) -> dict[str, object]:
        metrics = {"average_mAP": mean} | {f"mAP@{tiou}": mean for tiou in (0.3, 0.5, 0.7)}
        costs = {"core_minutes": 9.0, "peak_mib": 1200 + seed}
        return {"set": "demo", "network": network, "seed": seed, "metrics": metrics, **costs}

    table = benchmark.table([row("slowfast", 1, 0.9), row("slowfast", 2, 0.94), row("re2slowfast", 1, 0.95)])
    lines = {line.split(" | ")[1]: line for line in table.splitlines()[2:]}
    assert lines.keys() == {"slowfast", "re2slowfast"}
    assert "92.0 ± 2.8" in lines["slowfast"] and "90.0, 94.0" in lines["slowfast"] and "1202 MiB" in lines["slowfast"]
    assert "| 95.0 |" in lines["re2slowfast"]
