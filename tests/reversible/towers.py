"""A transformer of classes that the package does not know, and what the paper's equations make of it."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.reversible import set_mode

from .networks import gradients, loss_of


class Layer(nn.Module):
    """Pre-norm, with a mask and a position code, layer scale, dropout on the way; returns a tuple."""

    def __init__(self, channels: int = 8, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, channels))
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, channels))
        self.dropout = dropout

    def attend(self, x: Tensor, mask: Tensor | None, position: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x) + position).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)) * self.scale

    def forward(self, x: Tensor, *, mask: Tensor | None = None, position: Tensor) -> tuple[Tensor, Tensor]:
        x = x + F.dropout(self.attend(x, mask, position), self.dropout, self.training)
        x = self.mlp(self.norm2(x)) + x
        return x, position


class Tower(nn.Module):
    """A transformer's loop over a ModuleList."""

    def __init__(self, depth: int = 3, *, dropout: float = 0.0, skip: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.layers = nn.ModuleList(Layer(dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(8)
        self.position = nn.Parameter(torch.randn(1, 6, 8) * 0.1)
        self.skip = skip

    def forward(self, x: Tensor, mask: Tensor | None = None, *, hidden: bool = False) -> Any:
        x = self.stem(x)
        states = [x]
        for index, layer in enumerate(self.layers):
            if index not in self.skip:
                x, _ = layer(x, mask=mask, position=self.position)
            states.append(x)
        return tuple(states[1:]) if hidden else self.norm(x)


def two_streams(tower: Tower, x: Tensor, mask: Tensor | None) -> list[Tensor]:
    """What the paper's equations give, by plain autograd: the mean of the streams behind every layer."""
    u = v = tower.stem(x)
    means = []
    for layer in tower.layers:
        u, v = v, u + layer.attend(v, mask, tower.position)
        u, v = v, u + layer.mlp(layer.norm2(v))
        means.append((u + v) / 2)
    return means


def example(**options: Any) -> tuple[Tower, Tensor, Tensor]:
    torch.manual_seed(0)
    mask = torch.randn(6, 6, dtype=torch.float64).requires_grad_()
    return Tower(**options).double(), torch.randn(2, 6, 5, dtype=torch.float64), mask


def step(model: nn.Module, *args: Any, mode: str = "reversible", seed: int = 3, **kwargs: Any) -> dict[str, Tensor]:
    """Gradients of one step of a copy."""
    model = copy.deepcopy(model)
    set_mode(model, mode)  # type: ignore[arg-type]
    leaves = [arg.detach().clone().requires_grad_() if isinstance(arg, Tensor) else arg for arg in args]
    torch.manual_seed(seed)
    loss_of(model(*leaves, **kwargs)).backward()
    found = gradients(model)
    return found | {f"input {i}": leaf.grad for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
