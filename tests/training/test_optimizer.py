"""Which parameters learn at which rate, and which decay."""

import pytest
from torch import nn

from re2tal.training import TrainingConfig, build_optimizer, parameter_groups


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))
        self.head = nn.Sequential(nn.Conv1d(4, 4, 3), nn.LayerNorm(4), nn.Linear(4, 2), nn.BatchNorm1d(2))


CONFIG = TrainingConfig(epochs=10, learning_rate=1e-3, backbone_learning_rate=1e-5, weight_decay=0.05)


def test_groups_have_the_rates_and_decays_of_the_published_runs() -> None:
    model = Model()
    groups = {group["name"]: group for group in parameter_groups(model, config=CONFIG)}
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "backbone": (1e-5, 0.05),
        "decay": (1e-3, 0.05),
        "no_decay": (1e-3, 0.0),
    }
    members = {name: {id(parameter) for parameter in group["params"]} for name, group in groups.items()}
    assert members["backbone"] == {id(parameter) for parameter in model.backbone.parameters()}
    assert members["decay"] == {id(model.head[0].weight), id(model.head[2].weight)}
    assert set.union(*members.values()) == {id(parameter) for parameter in model.parameters()}


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = Model()
    members = [parameter for group in parameter_groups(model, config=CONFIG) for parameter in group["params"]]
    assert len(members) == len({id(parameter) for parameter in members}) == len(list(model.parameters()))


def test_frozen_parameters_are_left_out() -> None:
    model = Model()
    model.backbone.requires_grad_(False)
    assert [group["name"] for group in parameter_groups(model, config=CONFIG)] == ["decay", "no_decay"]


def test_a_model_without_anything_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter that requires a gradient; unfreeze"):
        build_optimizer(Model().requires_grad_(False), config=CONFIG)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be a multiple of accumulate, got 4 and 3"):
        TrainingConfig(epochs=10, batch_size=4, accumulate=3)
    with pytest.raises(ValueError, match="cosine_epochs must be at least epochs, got 5 and 10"):
        TrainingConfig(epochs=10, cosine_epochs=5)
    with pytest.raises(ValueError, match="warmup_epochs must be below the 10 epochs"):
        TrainingConfig(epochs=10, warmup_epochs=10)
