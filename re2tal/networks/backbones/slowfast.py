"""SlowFast: a slow pathway that sees few frames with many channels, a fast one that sees all with few.

Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019. Parameter names are those of the released
mmaction2 weights, so that importing them is no more than reading them.

B batch, C channels, T frames, H/W space.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.common.settings import Settings
from re2tal.networks.adapters import BlockLayout
from re2tal.networks.backbones.config import NetworkConfig, TrainingStrategy
from re2tal.networks.backbones.pixels import PixelNorm
from re2tal.reversible.devices import laid_out

__all__ = ["Bottleneck", "PathwayConfig", "SlowFast", "SlowFastConfig"]

EXPANSION = 4
"""A bottleneck puts out this many times the channels it works on."""


class PathwayConfig(Settings):
    """One pathway: its width and where it convolves along time."""

    base_channels: PositiveInt
    """Channels of the stem, and of the bottlenecks of the first stage; doubled in every later stage."""
    stem_kernel: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Kernel of the stem's convolution (time, height, width); odd."""
    temporal_stages: tuple[bool, ...]
    """For each stage, whether the first convolution of its bottlenecks spans three frames."""


class SlowFastConfig(NetworkConfig):
    """A SlowFast network of any depth, width and stage plan; the defaults are SlowFast-101, 8x8."""

    weight_names = "slowfast"
    strategies: ClassVar[tuple[TrainingStrategy, ...]] = ("plain", "checkpointed", "reversible")
    kind: Literal["slowfast"] = "slowfast"
    blocks: tuple[PositiveInt, ...] = (3, 4, 23, 3)
    """Bottlenecks in each stage. (3, 4, 6, 3) is depth 50, (3, 4, 23, 3) depth 101."""
    slow: PathwayConfig = PathwayConfig(
        base_channels=64, stem_kernel=(1, 7, 7), temporal_stages=(False, False, True, True)
    )
    fast: PathwayConfig = PathwayConfig(
        base_channels=8, stem_kernel=(5, 7, 7), temporal_stages=(True, True, True, True)
    )
    frame_ratio: PositiveInt = 4
    """The slow pathway sees every `frame_ratio`-th frame, the fast one every frame."""
    fusion_kernel: PositiveInt = 7
    """Length in frames of the convolutions that carry the fast features into the slow pathway; odd."""

    @model_validator(mode="after")
    def _stages_agree(self) -> "SlowFastConfig":
        for name, pathway in (("slow", self.slow), ("fast", self.fast)):
            if len(pathway.temporal_stages) != len(self.blocks):
                raise ValueError(
                    f"{name}.temporal_stages must have one entry for each stage of blocks={self.blocks}, "
                    f"got {pathway.temporal_stages}"
                )
        for name, size in (
            ("fusion_kernel", (self.fusion_kernel,)),
            ("slow.stem_kernel", self.slow.stem_kernel),
            ("fast.stem_kernel", self.fast.stem_kernel),
        ):
            if any(length % 2 == 0 for length in size):
                raise ValueError(f"{name} must be odd so that time and space keep their centres, got {size}")
        return self

    @property
    def out_channels(self) -> int:
        """Channels of the slow and the fast features together."""
        return (self.slow.base_channels + self.fast.base_channels) * EXPANSION * 2 ** (len(self.blocks) - 1)

    def build_network(self) -> "SlowFast":
        """SlowFast without its classifier."""
        return SlowFast(self)

    def block_layout(self) -> BlockLayout:
        """Feature maps; two pathways side by side."""
        return BlockLayout(order="BCTHW", in_sequence=False)


class ConvNorm(nn.Module):
    """Convolution and batch norm. The activation is the caller's: rewiring moves it."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: tuple[int, int, int], space_stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel,
            stride=(1, space_stride, space_stride),
            padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        return self.bn(self.conv(x))


class Stem(ConvNorm):
    """What comes before the stages: raw frames in, a quarter of their height and width out."""

    def __init__(self, channels: int, *, kernel: tuple[int, int, int]) -> None:
        super().__init__(3, channels, kernel=kernel, space_stride=2)
        self.normalise = PixelNorm()

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB, or normalised -> (B, C, T, H / 4, W / 4)."""
        return laid_out(self.shrink(super().forward(self.normalise(frames))))

    def shrink(self, x: Tensor) -> Tensor:
        """What follows the norm: (B, C, T, H / 2, W / 2) -> (B, C, T, H / 4, W / 4)."""
        return F.max_pool3d(F.relu(x, inplace=True), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


class Bottleneck(nn.Module):
    """`relu(x + conv3(conv2(conv1(x))))`, the residual block of a post-activation ResNet."""

    def __init__(self, in_channels: int, channels: int, *, temporal: bool, space_stride: int) -> None:
        super().__init__()
        out_channels = channels * EXPANSION
        self.conv1 = ConvNorm(in_channels, channels, kernel=(3 if temporal else 1, 1, 1))
        self.conv2 = ConvNorm(channels, channels, kernel=(1, 3, 3), space_stride=space_stride)
        self.conv3 = ConvNorm(channels, out_channels, kernel=(1, 1, 1))
        self.downsample = (
            None
            if in_channels == out_channels and space_stride == 1
            else ConvNorm(in_channels, out_channels, kernel=(1, 1, 1), space_stride=space_stride)
        )

    def residual(self, x: Tensor) -> Tensor:
        """The branch without its last activation: (B, C, T, H, W) -> (B, C', T, H', W')."""
        x = F.relu(self.conv1(x), inplace=True)
        x = F.relu(self.conv2(x), inplace=True)
        return self.conv3(x)

    def shortcut(self, x: Tensor) -> Tensor:
        """The way around the branch: the identity where the shape stays."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        return F.relu(self.residual(x) + self.shortcut(x), inplace=True)


class Pathway(nn.Module):
    """Stem and stages of one pathway; `fused_channels` come in from the other before every stage."""

    def __init__(self, config: PathwayConfig, *, blocks: tuple[int, ...], fused_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = Stem(config.base_channels, kernel=config.stem_kernel)
        in_channels = config.base_channels
        for stage, (count, extra) in enumerate(zip(blocks, fused_channels, strict=True)):
            channels = config.base_channels * 2**stage
            widths = [in_channels + extra] + [channels * EXPANSION] * count
            layer = nn.Sequential(
                *(
                    Bottleneck(
                        width,
                        channels,
                        temporal=config.temporal_stages[stage],
                        space_stride=2 if stage > 0 and index == 0 else 1,
                    )
                    for index, (width, _) in enumerate(pairwise(widths))
                )
            )
            self.add_module(f"layer{stage + 1}", layer)
            in_channels = channels * EXPANSION


class LateralConv(nn.Module):
    """Fast features, strided to the slow pathway's frames and made ready to be concatenated there."""

    def __init__(self, channels: int, *, kernel: int, frame_ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels,
            2 * channels,
            (kernel, 1, 1),
            stride=(frame_ratio, 1, 1),
            padding=(kernel // 2, 0, 0),
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, 2C, T / frame_ratio, H, W)."""
        return self.conv(x)


class SlowFast(nn.Module):
    """Both pathways with lateral connections; the rewired form is `rewire(SlowFast(config))`."""

    def __init__(self, config: SlowFastConfig) -> None:
        super().__init__()
        self.frame_ratio = config.frame_ratio
        self.num_stages = len(config.blocks)
        fast_widths = [config.fast.base_channels] + [
            config.fast.base_channels * EXPANSION * 2**stage for stage in range(self.num_stages - 1)
        ]
        self.slow_path = Pathway(
            config.slow, blocks=config.blocks, fused_channels=tuple(2 * width for width in fast_widths)
        )
        self.fast_path = Pathway(config.fast, blocks=config.blocks, fused_channels=(0,) * self.num_stages)
        for stage, width in enumerate(fast_widths):
            name = "conv1_lateral" if stage == 0 else f"layer{stage}_lateral"
            self.slow_path.add_module(
                name, LateralConv(width, kernel=config.fusion_kernel, frame_ratio=config.frame_ratio)
            )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, T, H, W) as for a stem -> slow (B, C, T / frame_ratio, H / 32, W / 32), fast (B, C', T, ...).

        Raises:
            ValueError: T is not a multiple of `frame_ratio`, so the pathways would not meet.
        """
        num_frames = frames.shape[2]
        if num_frames % self.frame_ratio:
            raise ValueError(
                f"SlowFast needs a number of frames divisible by {self.frame_ratio}, got {num_frames}; "
                "change the clip's steps or frames per step"
            )
        slow = self.slow_path.conv1(frames[:, :, :: self.frame_ratio])
        fast = self.fast_path.conv1(frames)
        for stage in range(self.num_stages):
            lateral = self.slow_path.get_submodule("conv1_lateral" if stage == 0 else f"layer{stage}_lateral")
            slow = torch.cat([slow, lateral(fast)], dim=1)
            slow = self.slow_path.get_submodule(f"layer{stage + 1}")(slow)
            fast = self.fast_path.get_submodule(f"layer{stage + 1}")(fast)
        return slow, fast
