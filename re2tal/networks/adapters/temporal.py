"""AdaTAD's temporal-informative adapters: small bottlenecks behind the blocks of a network that see along time.

Liu et al., "End-to-End Temporal Action Detection with 1B Parameters Across 1000 Frames", CVPR 2024. Sizes, names and
fresh weights are those of its published code, OpenTAD, so that published weights fit.

B clips, P sub-clips of each, T times, S places, N tokens of a sub-clip, C channels, D channels of the bottleneck.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.networks.adapters.blocks import width_of
from re2tal.networks.adapters.places import OF_PLACES
from re2tal.networks.adapters.settings import AdapterSettings, BlockLayout
from re2tal.reversible import Tiling

__all__ = ["AdaptedBlock", "Bottleneck1d", "TemporalAdapter", "TemporalAdapterConfig", "put_behind", "tell_sub_clips"]


class Bottleneck1d(AdapterSettings):
    """Sizes of a bottleneck with a convolution along time."""

    sees_whole_clips: ClassVar[bool] = True

    hidden_ratio: float = Field(default=0.25, gt=0, le=1)
    """Channels of the bottleneck over those of the network."""
    kernel_size: PositiveInt = 3
    """Times that its convolution sees, across sub-clips: odd."""

    @field_validator("kernel_size")
    @classmethod
    def _is_centred(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {value}; write {value + 1}")
        return value

    def for_block(self, block: nn.Module, *, layout: BlockLayout) -> "TemporalAdapter":
        """A new one, for what a block hands on.

        Raises:
            ValueError: nobody knows what that is.
        """
        if layout.order is None:
            raise ValueError(
                f"an adapter along time has to know what a {type(block).__name__} hands on; give the backbone's class "
                "of settings a `block_layout`, or take backbone.adapter.kind=lora"
            )
        channels = width_of(block)
        hidden = max(int(channels * self.hidden_ratio), 1)
        return TemporalAdapter(channels, hidden=hidden, kernel_size=self.kernel_size, layout=layout)


class TemporalAdapterConfig(Bottleneck1d):
    """AdaTAD's adapters, one behind every block, inside the network."""

    kind: Literal["temporal"] = "temporal"

    def put_on(self, network: nn.Module, blocks: Sequence[nn.Module], *, layout: BlockLayout) -> None:
        """As `adapter`, a child of every block."""
        for block in blocks:
            put_behind(block, self.for_block(block, layout=layout))


class TemporalAdapter(nn.Module):
    """What is added to the output x of a block: gamma * up(h + convolved(h)) with h = GELU(down(x)).

    The convolution along time is depthwise, and a pointwise one follows. `up` begins at zero.
    """

    returns_streams: ClassVar[bool] = True
    """In a reversible chain: two streams that it adds nothing to go on as if it were not there."""
    tiling: ClassVar[Tiling] = OF_PLACES
    told_before_calls: ClassVar[tuple[str, ...]] = ("sub_clips",)
    """Attributes that say how the tokens of a call lie, and change nothing in how it is computed."""

    def __init__(self, channels: int, *, hidden: int, kernel_size: int, layout: BlockLayout) -> None:
        super().__init__()
        self.layout = layout
        self.sub_clips = 1
        """P, of a clip in the present call; see `tell_sub_clips`."""
        self.down_proj = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.dwconv = nn.Conv1d(hidden, hidden, kernel_size, padding=kernel_size // 2, groups=hidden)
        self.conv = nn.Conv1d(hidden, hidden, 1)
        self.up_proj = nn.Linear(hidden, channels)
        self.gamma = nn.Parameter(torch.ones(1))
        nn.init.trunc_normal_(self.down_proj.weight, std=0.02)
        nn.init.normal_(self.dwconv.weight, std=math.sqrt(2 / kernel_size))
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / hidden))
        nn.init.zeros_(self.up_proj.weight)
        for layer in (self.down_proj, self.dwconv, self.conv, self.up_proj):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the output of a block, of its shape (see `BlockLayout`)."""
        if self.layout.order == "BCTHW":
            return self.forward_last(x.movedim(1, -1)).movedim(-1, 1)
        return self.forward_last(x)

    def forward_last(self, x: Tensor) -> Tensor:
        """With the channels behind: (B * P, N, C) or (B, T, H, W, C)."""
        hidden = self.act(self.down_proj(x))
        if self.layout.order == "BNC":
            frames = self._in_clips(hidden[:, self.layout.leading :])
            convolved = self.along_time(frames).reshape(hidden.shape[0], -1, hidden.shape[-1])
            convolved = F.pad(convolved, (0, 0, self.layout.leading, 0))
        else:
            convolved = self.along_time(hidden.flatten(2, 3)).view(hidden.shape)
        added: Tensor = self.up_proj(hidden + convolved) * self.gamma
        return added

    def _in_clips(self, hidden: Tensor) -> Tensor:
        """(B * P, T * S, D) -> (B, P * T, S, D)."""
        sub_clips, tokens, channels = hidden.shape
        times, places = self.layout.times, tokens // self.layout.times
        if tokens != times * places or sub_clips % self.sub_clips:
            raise ValueError(
                f"an adapter along time takes tokens of {times} times, got {tokens} of each of {sub_clips} sub-clips, "
                f"{self.sub_clips} of which make a clip; in backbone.time_positions, give the times that tokens stand "
                "for, and have the network return no others, such as a class token"
            )
        return hidden.reshape(-1, self.sub_clips * times, places, channels)

    def along_time(self, hidden: Tensor) -> Tensor:
        """(B, T, S, D) -> the same shape, convolved."""
        clips, _, places, _ = hidden.shape
        lines = hidden.permute(0, 2, 3, 1).flatten(0, 1)  # (B * S, D, T)
        lines = self.conv(self.dwconv(lines))
        return lines.unflatten(0, (clips, places)).permute(0, 3, 1, 2).contiguous()


class AdaptedBlock(nn.Module):
    """Mixed into the class of a block that has got a child `adapter`, which is added to what the block gives."""

    adapter: nn.Module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the block gives, of which the first tensor is adapted."""
        given = super().forward(*args, **kwargs)
        if isinstance(given, tuple):
            return (given[0] + self.adapter(given[0]), *given[1:])
        return given + self.adapter(given)


def put_behind(block: nn.Module, adapter: nn.Module, *, mixin: type[nn.Module] = AdaptedBlock) -> None:
    """Make `adapter` a child of a block that is called behind it; the names of the block's weights stay.

    Raises:
        ValueError: it has a child of this name.
    """
    if hasattr(block, "adapter"):
        raise ValueError(f"{type(block).__name__} has an `adapter` already; put adapters on a network without any")
    block.adapter = adapter
    kinds: Any = type(block), mixin
    block.__class__ = _adapted(*kinds)


@cache
def _adapted(kind: type[nn.Module], mixin: type[nn.Module]) -> Any:
    """A class of blocks that are adapted; `adapted` is what the blocks were."""
    made: Any = type(f"Adapted{kind.__name__}", (mixin, kind), {"adapted": kind, "__module__": mixin.__module__})
    if "forward" in vars(made):  # transformers wraps that of every class derived from its layers
        del made.forward
    return made


def tell_sub_clips(network: nn.Module, sub_clips: int) -> None:
    """Tell the adapters of a network how many sub-clips side by side make a clip in the call to come."""
    for module in network.modules():
        if isinstance(module, TemporalAdapter) and module.sub_clips != sub_clips:
            module.sub_clips = sub_clips
