"""Which parameters learn at which rate, and which decay."""

from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import AdamW

from re2tal.training.config import TrainingConfig

__all__ = ["build_optimizer", "parameter_groups"]

_BACKBONE = "backbone."


def parameter_groups(model: nn.Module, *, config: TrainingConfig) -> list[dict[str, Any]]:
    """AdamW's groups: `backbone`, `decay` and `no_decay`; empty ones and frozen parameters are left out.

    With `config.layer_decay`, what lies below k blocks of the backbone is the group `backbone/k`; the backbone then
    says how many that is for each of its parameters (`blocks_above`).

    Outside the backbone only the weights of linear maps and convolutions decay: pulling biases,
    norms or scales to 0 would not make the function simpler.
    """
    linear_weights = {
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear | _ConvNd)
    }
    above = _blocks_above(model) if config.layer_decay < 1 else {}
    members: dict[str, list[nn.Parameter]] = {"backbone": [], "decay": [], "no_decay": []}
    rates = {"backbone": config.backbone_learning_rate}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(_BACKBONE):
            count = above.get(name, 0)
            group = f"backbone/{count}" if count else "backbone"
            rates[group] = config.backbone_learning_rate * config.layer_decay**count
            members.setdefault(group, []).append(parameter)
        elif name in linear_weights:
            members["decay"].append(parameter)
        else:
            members["no_decay"].append(parameter)
    decays = {"no_decay": 0.0}
    return [
        {
            "name": group,
            "params": parameters,
            "lr": rates.get(group, config.learning_rate),
            "weight_decay": decays.get(group, config.weight_decay),
        }
        for group, parameters in members.items()
        if parameters
    ]


def _blocks_above(model: nn.Module) -> dict[str, int]:
    """For every parameter of the backbone, by its name in the model."""
    backbone: Any = model.get_submodule("backbone")
    if not hasattr(backbone, "blocks_above"):
        raise ValueError(
            f"training.layer_decay is of blocks, and a {type(backbone).__name__} does not tell its own; set it to 1"
        )
    return {_BACKBONE + name: count for name, count in backbone.blocks_above().items()}


def build_optimizer(model: nn.Module, *, config: TrainingConfig) -> AdamW:
    """AdamW over `parameter_groups`."""
    groups = parameter_groups(model, config=config)
    if not groups:
        raise ValueError("the model has no parameter that requires a gradient; unfreeze some before training")
    return AdamW(groups, lr=config.learning_rate)
