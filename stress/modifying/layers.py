"""What people put into branches: adapters, counters, codebooks, modules that are not registered."""

import torch
import torch.utils.checkpoint
from torch import Tensor, nn


class Adapted(nn.Module):
    """A layer with a low-rank adapter (LoRA) that can be switched off."""

    def __init__(self, base: nn.Linear, *, rank: int = 2) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.disabled = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        return y if self.disabled else y + self.up(self.down(x))


class Gain(nn.Module):
    """Multiplies by a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((), 0.75, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Listing(nn.Module):
    """A layer followed by modules in a plain list, which are not registered."""

    def __init__(self, layer: nn.Module, unregistered: list[nn.Module]) -> None:
        super().__init__()
        self.layer, self.unregistered = layer, unregistered

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        for module in self.unregistered:
            y = module(y)
        return y


class Holding(nn.Module):
    """A layer and a tensor attribute that needs a gradient and is no parameter."""

    def __init__(self, layer: nn.Module, held: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.held = layer, held

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.held[0]


class Counting(nn.Module):
    """Counts its calls, in a buffer and in a number; both matter."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.total += 1
            self.calls += 1
        return self.layer(x) * (1 + self.total / 10) / (1 + self.calls / 20)


class CountingNumber(nn.Module):
    """Counts its calls in a number alone; every second one is scaled."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.calls = layer, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * (0.5 if self.calls % 2 else 1.0)


class Centred(nn.Module):
    """Subtracts a moving average of its output, which moves in training."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self.training:
            with torch.no_grad():
                self.average.mul_(0.8).add_(y.mean(), alpha=0.2)
        return y - self.average.clone()


class Replacing(Centred):
    """The same, but every call assigns a new tensor to the buffer."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self.training:
            self.average = 0.8 * self.average + 0.2 * y.detach().mean()
        return y - self.average


class Codebook(nn.Module):
    """Rounds numbers to the nearest of a few, straight through; these follow the data in every second call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("codes", torch.linspace(-1, 1, 7, dtype=torch.float64))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        nearest = (y.detach()[..., None] - self.codes).abs().argmin(-1)
        rounded = self.codes[nearest]
        if self.training:
            self.step += 1
            if int(self.step) % 2 == 0:
                counts = torch.bincount(nearest.flatten(), minlength=len(self.codes))
                sums = torch.zeros_like(self.codes).index_add_(0, nearest.flatten(), y.detach().flatten())
                means = torch.where(counts > 0, sums / counts.clamp(min=1), self.codes)
                self.codes.mul_(0.75).add_(means, alpha=0.25)
        return y + 0.5 * (rounded - y.detach())


class Checkpointed(nn.Module):
    """A block whose activations torch computes again."""

    def __init__(self, block: nn.Module, *, use_reentrant: bool) -> None:
        super().__init__()
        self.block, self.use_reentrant = block, use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.block, x, use_reentrant=self.use_reentrant)
