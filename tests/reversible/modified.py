"""Networks that are changed before or after they are rewired, and what they are compared with."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.video.swin_transformer import SwinTransformer3d

from re2tal.reversible import rewire, set_coefficients

from .networks import assert_same_gradients, gradients, loss_of

X = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLIP = torch.randn(2, 3, 6, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    def __init__(self, branch: nn.Module | None = None) -> None:
        super().__init__()
        self.norm, self.f = nn.LayerNorm(8), branch or nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.2))
        self.scale, self.p, self.doubled, self.settings = 1.0, 0.0, False, {"shift": 0.0}
        self.gain = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        y = self.f(self.norm(x)) * self.scale * self.gain + self.settings["shift"]
        y = F.dropout(y, self.p, self.training)
        return x + (2 * y if self.doubled else y)


class Loop(nn.Module):
    def __init__(self, build: Callable[[], nn.Module] = Block) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(build() for _ in range(4)).double()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def sequential(build: Callable[[], nn.Module] = Block) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(build() for _ in range(4))).double()


def swin() -> nn.Module:
    torch.manual_seed(0)
    return SwinTransformer3d([2, 4, 4], 8, [2, 2], [2, 4], [2, 3, 3], num_classes=5, stochastic_depth_prob=0.2).double()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "loop": (Loop, X),
    "sequential": (sequential, X),
    "swin": (swin, CLIP),
}


def blocks_of(model: nn.Module) -> list[nn.Module]:
    if isinstance(model, SwinTransformer3d):
        return [*model.features[0], *model.features[2]]
    return list(model if isinstance(model, nn.Sequential) else model.get_submodule("blocks"))


def pair(network: str, build: Callable[[], nn.Module] | None = None) -> tuple[nn.Module, nn.Module, Tensor]:
    """A network that was never rewired, the same one rewired to compute the same, and an input."""
    make, x = NETWORKS[network]
    plain = make() if build is None else make(build)  # type: ignore[call-arg]
    ours = rewire(copy.deepcopy(plain), example=x)
    set_coefficients(ours, alpha=1, beta=0)
    return plain, ours, x


def step(model: nn.Module, x: Tensor, between: Callable[[], Any] = lambda: None) -> dict[str, Tensor]:
    """Output, gradients, buffers and the next random number of a training step."""
    leaf = x.clone().requires_grad_()
    torch.manual_seed(1)
    y = model(leaf)
    between()
    model.zero_grad()
    loss_of(y).backward()
    buffers = {f"buffer {name}": buffer.double() for name, buffer in model.named_buffers()}
    found = {name.removeprefix("_orig_mod."): tensor for name, tensor in (gradients(model, leaf) | buffers).items()}
    return found | {"output": y.detach(), "drawn": torch.rand(2, dtype=torch.float64)}


def assert_same_step(plain: nn.Module, ours: nn.Module, x: Tensor) -> None:
    found, expected = step(ours, x), step(plain, x)
    assert torch.equal(found.pop("drawn"), expected.pop("drawn"))
    assert_same_gradients(found, expected, tolerance=1e-9)
