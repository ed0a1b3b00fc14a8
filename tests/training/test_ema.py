"""The running average of the weights (the reference's numbers are compared in tests/parity)."""

import torch
from torch import nn

from re2tal.training import EMA


def test_weights_that_do_not_change_are_averaged_without_rounding() -> None:
    model = nn.Linear(100, 100)
    ema = EMA(model, decay=0.999)
    for _ in range(50):
        ema.update(model)
    assert torch.equal(ema.module.weight, model.weight)


def test_without_decay_the_average_is_the_last_value() -> None:
    model = nn.Linear(10, 10)
    ema = EMA(model, decay=0.0)
    nn.init.normal_(model.weight)
    ema.update(model)
    assert torch.equal(ema.module.weight, model.weight)


def test_float_buffers_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm1d(3)
    ema = EMA(model, decay=0.5)
    model.running_mean.fill_(4.0)
    model.num_batches_tracked.fill_(7)
    ema.update(model)
    assert ema.module.running_mean.tolist() == [2.0, 2.0, 2.0]
    assert int(ema.module.num_batches_tracked) == 7


def test_the_average_is_a_model_of_its_own_in_eval_mode() -> None:
    model = nn.Linear(3, 3)
    ema = EMA(model, decay=0.5)
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    nn.init.zeros_(model.weight)
    assert ema.module.weight.abs().sum() > 0
