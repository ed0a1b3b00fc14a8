"""LoRA of the library peft: a product of two small matrices beside every linear layer.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from re2tal.networks.adapters.settings import AdapterSettings, BlockLayout
from re2tal.networks.zoo.named import optional

__all__ = ["LowRankConfig"]

_OWN = "base_layer."
"""What peft puts before the names of the layer's own weights."""


class LowRankConfig(AdapterSettings):
    """LoRA in the linear layers of the blocks."""

    runs_dry: ClassVar[bool] = False
    kind: Literal["lora"] = "lora"
    rank: PositiveInt = 8
    """Columns of the two matrices."""
    alpha: PositiveFloat = 16.0
    """Their product counts alpha / rank times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of their input's elements that is dropped in training."""
    targets: tuple[str, ...] = ()
    """Ends of the names of the layers that get one, such as "query"; (): every linear layer of the blocks that is
    called. (Video Swin's attention computes with the weights of its layers and does not call them.)"""

    def put_on(self, network: nn.Module, blocks: Sequence[nn.Module], *, layout: BlockLayout) -> None:
        """In the places of linear layers; in a state dict, weights have the names that they had."""
        peft = optional("peft")
        uncalled = {name for name, module in network.named_modules() if type(module).__name__ == _SWIN_ATTENTION}
        names = [
            name
            for name, module in network.named_modules()
            if type(module) is nn.Linear and name.rpartition(".")[0] not in uncalled and self._is_wanted(name)
        ]
        inside = {id(module) for block in blocks for module in block.modules()}
        chosen = [name for name in names if id(network.get_submodule(name)) in inside]
        if not chosen and not self.targets:
            raise ValueError(
                f"the blocks of a {type(network).__name__} call no linear layer that could have a LoRA; take "
                "backbone.adapter.kind=temporal"
            )
        if not chosen:
            raise ValueError(
                f"no linear layer in the blocks has a name that ends with one of backbone.adapter.targets, "
                f"{self.targets}; leave it empty for all that are called"
            )
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules="|".join(map(re.escape, chosen)),
        )
        peft.inject_adapter_in_model(config, network)
        for name in chosen:
            layer = network.get_submodule(name)
            layer.register_state_dict_post_hook(_own_names)
            layer.register_load_state_dict_pre_hook(_library_names)

    def _is_wanted(self, name: str) -> bool:
        return not self.targets or any(f".{name}".endswith(f".{target}") for target in self.targets)


_SWIN_ATTENTION = "ShiftedWindowAttention3d"


def _own_names(layer: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """A layer's weights under the names that they had: "dense.weight", not "dense.base_layer.weight"."""
    for name in [name for name in state if name.startswith(prefix + _OWN)]:
        state[prefix + name.removeprefix(prefix + _OWN)] = state.pop(name)


def _library_names(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The other way round."""
    for name, _parameter in layer.get_submodule(_OWN.rstrip(".")).named_parameters():
        if prefix + name in state:
            state[prefix + _OWN + name] = state.pop(prefix + name)
