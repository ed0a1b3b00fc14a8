"""Small networks that the engine's tests train, and one training step of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from re2tal.networks.backbones import PathwayConfig, SlowFast, SlowFastConfig, SwinConfig, SwinTrunk
from re2tal.reversible import ReversibleChain, rewire


class Mlp(nn.Module):
    """A branch with dropout."""

    def __init__(self, channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Linear(channels, 2 * channels)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.dropout(torch.tanh(self.first(self.norm(x)))))


class MlpNet(nn.Module):
    """Stem, chain of MLPs, head."""

    def __init__(self, *, depth: int = 4, channels: int = 6, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Linear(5, channels)
        self.chain = ReversibleChain([Mlp(channels, dropout=dropout) for _ in range(depth)])
        self.head = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.chain(self.stem(x)))


def mlp_net() -> tuple[nn.Module, Tensor]:
    """With (4, 5) input."""
    return MlpNet(dropout=0.3), torch.randn(4, 5)


def re2_swin() -> tuple[nn.Module, Tensor]:
    """Shifted and clipped windows, drop path; (2, 3, 8, 20, 20) input."""
    config = SwinConfig(
        embed_dim=8, depths=(2, 2), num_heads=(1, 2), patch_size=(2, 4, 4), window_size=(2, 3, 3), drop_path=0.4
    )
    return rewire(SwinTrunk(config)), torch.randn(2, 3, 8, 20, 20)


def re2_slowfast() -> tuple[nn.Module, Tensor]:
    """Batch norms in training mode; (2, 3, 12, 32, 32) input.

    The slow pathway has three frames: with fewer than its kernel spans, torch 2.14 computes wrong weight gradients in
    bfloat16 on the CPU.
    """
    config = SlowFastConfig(
        blocks=(2, 3),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
    )
    return rewire(SlowFast(config)), torch.randn(2, 3, 12, 32, 32)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": mlp_net,
    "swin": re2_swin,
    "slowfast": re2_slowfast,
}


def loss_of(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A loss whose gradient differs in every element."""
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs:
        weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
        total = total + (output * weights).sum().double() + output.square().mean().double()
    return total


def gradients(model: nn.Module, x: Tensor | None = None) -> dict[str, Tensor]:
    """Copies of the accumulated gradients of parameters, and of `x`, by name."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    if x is not None and x.grad is not None:
        found["input"] = x.grad.clone()
    return found


def worst_error(ours: dict[str, Tensor], reference: dict[str, Tensor]) -> tuple[float, str]:
    """Relative L2 of the worst, and its name; with a floor for gradients that vanish (a bias before a batch norm)."""
    assert ours.keys() == reference.keys()
    floor = 1e-3 * max(float(grad.norm()) for grad in reference.values())
    return max(
        (float((ours[name].double() - expected.double()).norm()) / max(float(expected.norm()), floor), name)
        for name, expected in reference.items()
    )


def assert_same_gradients(ours: dict[str, Tensor], reference: dict[str, Tensor], *, tolerance: float) -> None:
    error, name = worst_error(ours, reference)
    assert error <= tolerance, f"gradient of {name} is off by {error:.1e}"
