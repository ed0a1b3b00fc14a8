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

    Outside the backbone only the weights of linear maps and convolutions decay: pulling biases,
    norms or scales to 0 would not make the function simpler.
    """
    linear_weights = {
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear | _ConvNd)
    }
    members: dict[str, list[nn.Parameter]] = {"backbone": [], "decay": [], "no_decay": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(_BACKBONE):
            members["backbone"].append(parameter)
        elif name in linear_weights:
            members["decay"].append(parameter)
        else:
            members["no_decay"].append(parameter)
    rates = {"backbone": config.backbone_learning_rate}
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


def build_optimizer(model: nn.Module, *, config: TrainingConfig) -> AdamW:
    """AdamW over `parameter_groups`."""
    groups = parameter_groups(model, config=config)
    if not groups:
        raise ValueError("the model has no parameter that requires a gradient; unfreeze some before training")
    return AdamW(groups, lr=config.learning_rate)
