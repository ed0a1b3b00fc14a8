"""Small residual networks of many kinds, and Re2TAL's two streams in plain torch."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d
from torchvision.models.video.swin_transformer import SwinTransformerBlock as SwinTransformerBlock3d

from modifying.branches import BRANCHES, CHANNELS, NORMS, branch, drop_path, norm, pointwise

SHAPES = {"tokens": (2, 5), "series": (2, 7), "pictures": (2, 5, 5), "windows": (2, 4, 4), "clips": (2, 2, 4, 4)}
"""Of the input, without its channels."""
INPUTS = 4
"""Channels before the stem, where there is one."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Spec:
    """What a network is built of."""

    family: str
    layout: str
    """Where the blocks are: "sequential", "loop" (a ModuleList), or "stages" (two Sequentials, a layer between)."""
    blocks: tuple[str, ...]
    """The kind of each."""
    norm: str
    stem: bool
    head: bool
    rate: float
    """Of dropout and drop path."""
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input."""
        channels = INPUTS if self.stem else CHANNELS
        batch, *space = SHAPES[self.family]
        return (batch, channels, *space) if self.family in ("series", "pictures") else (batch, *space, channels)

    def __str__(self) -> str:
        ends = ("stem, " if self.stem else "") + ("head, " if self.head else "")
        return f"{self.family}, {self.layout}: {', '.join(self.blocks)}; {ends}norm {self.norm}, rate {self.rate}"


class Block(nn.Module):
    """A residual block whose branches can be called by themselves."""

    def __init__(self, family: str, draw: random.Random, *, norm_kind: str, rate: float) -> None:
        super().__init__()
        self.norm = norm(family, norm_kind)
        self.f = branch(family, draw.choice(BRANCHES[family]), dropout=rate)
        self.drop_path = drop_path(draw, rate)

    def branches(self) -> tuple[Function, ...]:
        """Those whose results are added, one after the other."""
        return (lambda x: self.drop_path(self.f(self.norm(x))),)


class Single(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.f(self.norm(x)))


class AddedInPlace(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.drop_path(self.f(self.norm(x))).clone()  # torch refuses to change what a hook has passed on
        y += x
        return y


class Double(Block):
    def __init__(self, family: str, draw: random.Random, *, norm_kind: str, rate: float) -> None:
        super().__init__(family, draw, norm_kind=norm_kind, rate=rate)
        self.norm2 = norm(family, norm_kind)
        self.g = branch(family, draw.choice(BRANCHES[family]), dropout=rate)

    def branches(self) -> tuple[Function, ...]:
        return (*super().branches(), lambda x: self.drop_path(self.g(self.norm2(x))))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.f(self.norm(x)))
        return x + self.drop_path(self.g(self.norm2(x)))


class Parallel(Double):
    def branches(self) -> tuple[Function, ...]:
        return (self.both,)

    def both(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.drop_path(self.f(y) + self.g(self.norm2(y)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.both(x)


class Weighted(Block):
    """With a parameter and a buffer of its own."""

    def __init__(self, family: str, draw: random.Random, *, norm_kind: str, rate: float) -> None:
        super().__init__(family, draw, norm_kind=norm_kind, rate=rate)
        self.gamma = nn.Parameter(torch.full((), 0.5))
        self.register_buffer("level", torch.ones(()))

    def branches(self) -> tuple[Function, ...]:
        return (lambda x: self.gamma * self.f(self.norm(x)) * self.level,)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.f(self.norm(x)) * self.level


class Attributes(Block):
    """Its forward reads numbers, a flag, a list, a bare tensor and a config."""

    def __init__(self, family: str, draw: random.Random, *, norm_kind: str, rate: float) -> None:
        super().__init__(family, draw, norm_kind=norm_kind, rate=rate)
        self.scale, self.flag, self.p, self.factors = 1.0, False, 0.0, [1.0, 0.5]
        self.config = SimpleNamespace(scale=1.0, doubled=False)
        self.bare: Tensor | None = torch.ones((), dtype=torch.float64) if draw.random() < 0.5 else None

    def branches(self) -> tuple[Function, ...]:
        return (self.branch,)

    def branch(self, x: Tensor) -> Tensor:
        y = F.dropout(self.f(self.norm(x)) * self.scale * self.factors[0], self.p, self.training)
        y = y * (2 * self.config.scale if self.config.doubled else self.config.scale)
        y = y.tanh() if self.flag else y
        return y if self.bare is None else y * self.bare

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


BLOCKS: dict[str, type[Block]] = {
    "single": Single,
    "added in place": AddedInPlace,
    "double": Double,
    "parallel": Parallel,
    "weighted": Weighted,
    "attributes": Attributes,
}


class Network(nn.Module):
    """Stem, blocks, head."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        draw = random.Random(spec.seed)
        self.stem = pointwise(spec.family, INPUTS, CHANNELS) if spec.stem else nn.Identity()
        blocks = [build_block(spec, draw, index) for index in range(len(spec.blocks))]
        self.between: nn.Module = nn.Identity()
        match spec.layout:
            case "sequential":
                self.stages = nn.ModuleList([nn.Sequential(*blocks)])
            case "stages":
                self.stages = nn.ModuleList([nn.Sequential(*blocks[:2]), nn.Sequential(*blocks[2:])])
                self.between = pointwise(spec.family, CHANNELS, CHANNELS)
            case _:
                self.stages = nn.ModuleList([nn.ModuleList(blocks)])
        self.head = pointwise(spec.family, CHANNELS, 3) if spec.head else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = self.between(x) if index else x
            if isinstance(stage, nn.Sequential):
                x = stage(x)
            else:
                for block in stage:
                    x = block(x)
        return self.head(x)


def build_block(spec: Spec, draw: random.Random, index: int) -> nn.Module:
    """A block of the network of `spec`."""
    shift = index % 2
    if spec.family == "windows":
        return SwinTransformerBlock(CHANNELS, 2, [2, 2], [shift, shift], 2.0, spec.rate, spec.rate, spec.rate)
    if spec.family == "clips":
        sizes = dict(window_size=[2, 2, 2], shift_size=[0, shift, shift], mlp_ratio=2.0)
        rates = dict(dropout=spec.rate, attention_dropout=spec.rate, stochastic_depth_prob=spec.rate)
        return SwinTransformerBlock3d(CHANNELS, 2, **sizes, **rates, attn_layer=ShiftedWindowAttention3d)
    return BLOCKS[spec.blocks[index]](spec.family, draw, norm_kind=spec.norm, rate=spec.rate)


def draw_spec(draw: random.Random) -> Spec:
    """Any network."""
    family = draw.choice(("tokens", "tokens", "tokens", "series", "pictures", "pictures", "windows", "clips"))
    layout = draw.choice(("sequential", "loop", "stages"))
    count = 4 if layout == "stages" else draw.randint(2, 4)
    is_swin = family in ("windows", "clips")
    kind = draw.choice(list(BLOCKS))
    mixed = draw.random() < 0.4
    return Spec(
        family=family,
        layout=layout,
        blocks=tuple("swin" if is_swin else draw.choice(list(BLOCKS)) if mixed else kind for _ in range(count)),
        norm="layer" if is_swin else draw.choice(NORMS[family]),
        stem=draw.random() < 0.6,
        head=draw.random() < 0.6,
        rate=draw.choice((0.0, 0.3)),
        seed=draw.randrange(2**31),
    )


def build(spec: Spec) -> Network:
    """The network, always the same, in float64; every parameter is drawn, so that none is where it begins."""
    torch.manual_seed(spec.seed)
    network = Network(spec).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Blocks, in order."""
    return [block for stage in network.stages for block in stage]


def branches_of(block: nn.Module) -> tuple[Function, ...]:
    """Those of a block of ours or of torchvision."""
    if hasattr(block, "branches"):
        return block.branches()
    return (
        lambda x: block.stochastic_depth(block.attn(block.norm1(x))),
        lambda x: block.stochastic_depth(block.mlp(block.norm2(x))),
    )


def two_streams(network: nn.Module, x: Tensor, *, reversible: Collection[int]) -> Tensor:
    """What Re2TAL makes of the network: (u, v) -> (v, u + f(v)) for every branch f, from u = v = x to (u + v) / 2.

    Args:
        network: not rewired.
        x: its input.
        reversible: the places of the blocks that are in chains; others are called as they are.
    """
    x = network.stem(x)
    position = 0
    for index, stage in enumerate(network.stages):
        x = network.between(x) if index else x
        u = v = x
        for block in stage:
            if position in reversible:
                for f in branches_of(block):
                    u, v = v, u + f(v)
            else:
                u = v = block((u + v) / 2)
            position += 1
        x = (u + v) / 2
    return network.head(x)
