"""Rates and averaged weights against the reference's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from re2tal.training import EMA, TrainingConfig, WarmupCosine


@pytest.mark.parametrize(("preset", "bases"), [("thumos", [1e-5, 1e-4, 1e-4]), ("anet", [1e-5, 1e-3, 1e-3])])
def test_rates_equal_the_reference_at_every_iteration(goldens: Path, preset: str, bases: list[float]) -> None:
    arrays = np.load(goldens / "sched_ema.npz")
    rates = arrays[f"{preset}:lr"]
    steps = int(arrays[f"{preset}:iters_per_epoch"])
    defaults = TrainingConfig(epochs=15)
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": base} for base in bases])
    schedule = WarmupCosine(
        optimizer,
        minimum=defaults.min_learning_rate,
        warmup_steps=round(defaults.warmup_epochs * steps),
        total_steps=int(arrays[f"{preset}:max_epoch"]) * steps,
    )
    for step, expected in enumerate(rates):
        schedule.set_step(step)
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], expected, rtol=1e-9, atol=1e-18)


def test_thumos_training_stops_high_on_the_cosine(goldens: Path) -> None:
    last = np.load(goldens / "sched_ema.npz")["thumos:lr"][-1]
    assert last[1] / 1e-4 == pytest.approx(0.985, abs=5e-4)


class Weights(nn.Module):
    """A weight, an index table and a running mean, as in the reference's run."""

    def __init__(self, start: np.ndarray, table: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(start.copy()))
        self.register_buffer("table", torch.zeros(table.shape, dtype=torch.int64))
        self.register_buffer("loss_normalizer", torch.tensor(100.0))


def test_averaged_weights_equal_the_reference(goldens: Path) -> None:
    arrays = np.load(goldens / "sched_ema.npz")
    table = arrays["ema:final_int_buffer"]
    model = Weights(arrays["ema:w0"], table)
    ema = EMA(model, decay=TrainingConfig(epochs=15).ema_decay)
    plain_normalizer = 100.0
    for step, weights in enumerate(arrays["ema:model_w"]):
        model.weight.data.copy_(torch.from_numpy(weights))
        model.loss_normalizer.fill_(float(arrays["ema:loss_normalizer_model"][step]))
        model.table.copy_(torch.from_numpy(table))
        ema.update(model)
        np.testing.assert_allclose(ema.module.weight.numpy(), arrays["ema:ema_w"][step], rtol=1e-5, atol=1e-6)
        # The reference averages into an integer, which truncates; ours stays a float.
        plain_normalizer = 0.999 * plain_normalizer + 0.001 * float(arrays["ema:loss_normalizer_model"][step])
        assert float(ema.module.loss_normalizer) == pytest.approx(plain_normalizer, rel=1e-6)
    assert torch.equal(ema.module.table, torch.from_numpy(table).to(torch.int64))
