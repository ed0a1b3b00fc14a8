"""Any network of torchvision, timm, transformers or a file of one's own as a backbone.

B batch, C channels, T frames, P sub-clips, H/W space, N tokens.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from re2tal.common.untrusted import some
from re2tal.networks.backbones.config import TrainingStrategy
from re2tal.networks.backbones.sub_clips import SubClipConfig, SubClipTrunk
from re2tal.networks.zoo.named import create
from re2tal.reversible import rewire

__all__ = ["FactoryConfig", "FactoryTrunk", "rewire_factory"]


class FactoryConfig(SubClipConfig):
    """A network by its name, and what it takes and gives.

    What it gives is recognised by its dimensions: (B, C), one feature of a sub-clip; (B, N, C), tokens, those of a time
    beside each other and times in order; (B, C, H, W), maps of a picture; (B, C, T, H, W), maps of a sub-clip. Of
    several results the first counts.
    """

    strategies: ClassVar[tuple[TrainingStrategy, ...]] = ()
    size_fix = "set both alike, and the size among backbone.options if the network has one"
    kind: Literal["factory"] = "factory"
    factory: str
    """torchvision:NAME, timm:NAME, transformers:CLASS (such as VideoMAEModel), or path/to/file.py:FUNCTION, which
    returns the network; the file is executed."""
    options: dict[str, Any] = {}
    """Given to the factory: sizes, rates of dropout; for transformers, to the configuration of the class."""
    arguments: dict[str, Any] = {}
    """Given to the network in every call, by name, beside the frames."""
    left_out: tuple[str, ...] = ()
    """Modules whose place an identity takes: the last layer of a classifier, what is not called."""
    takes: Literal["BCTHW", "BTCHW", "BCHW"] = "BCTHW"
    """Order of the dimensions of its input; BCHW: single pictures."""
    time_positions: PositiveInt = 1
    """Times that the tokens of one sub-clip stand for: frames over the length of a tubelet. 1 if it gives no tokens."""
    out_channels: PositiveInt
    """Channels of what it gives."""

    @model_validator(mode="after")
    def _pictures_are_single_frames(self) -> "FactoryConfig":
        if self.takes == "BCHW" and self.clip_frames != 1:
            raise ValueError(
                f"a network of single pictures (takes='BCHW') has clip_frames=1, got {self.clip_frames}; set it to 1"
            )
        return self

    def build_network(self) -> "FactoryTrunk":
        """The network that the factory makes."""
        return FactoryTrunk(self)

    def rewired(self, network: nn.Module) -> nn.Module:
        """Its residual blocks are found by running it on noise."""
        assert isinstance(network, FactoryTrunk)
        rewire_factory(network)
        return network

    def executed_file(self) -> str | None:
        """A factory in a file."""
        return self.factory if ".py:" in self.factory else None

    @property
    def title(self) -> str:
        """The factory."""
        return self.factory


class FactoryTrunk(SubClipTrunk):
    """What a factory makes, as a backbone."""

    config: FactoryConfig

    def __init__(self, config: FactoryConfig) -> None:
        super().__init__(config)
        self.net = create(config.factory, config.options)
        for name in config.left_out:
            parent, _, last = name.rpartition(".")
            try:
                self.net.get_submodule(name)
            except AttributeError:
                names = some(child for child, _ in self.net.named_children())
                raise ValueError(
                    f"backbone.left_out names {name!r}, which {config.factory} does not have; it has {names}"
                ) from None
            setattr(self.net.get_submodule(parent), last, nn.Identity())

    def inputs(self, sub_clips: Tensor) -> dict[str, Any]:
        """What the network is called with, for sub-clips in its own order of dimensions."""
        first = next(iter(inspect.signature(self.net.forward).parameters))
        return {first: sub_clips, **self.config.arguments}

    def features(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, `clip_frames`, H, W), normalised -> (N, C, T' / P)."""
        match self.config.takes:
            case "BCTHW":
                pass
            case "BTCHW":
                sub_clips = sub_clips.transpose(1, 2).contiguous()
            case "BCHW":
                sub_clips = sub_clips.squeeze(2)
        return self._pooled(_first_tensor(self.net(**self.inputs(sub_clips))))

    def _pooled(self, found: Tensor) -> Tensor:
        """The mean over space of what the network gives for sub-clips."""
        config = self.config
        match found.ndim:
            case 2:
                features = found[:, :, None]
            case 3 if found.shape[1] % config.time_positions == 0:
                features = found.unflatten(1, (config.time_positions, -1)).mean(2).transpose(1, 2)
            case 4:
                features = found.mean((2, 3))[:, :, None]
            case 5:
                features = found.mean((3, 4))
            case _:
                raise ValueError(
                    f"{config.factory} gives {tuple(found.shape)}, in which no features of {config.time_positions} "
                    "times (backbone.time_positions) are recognised; return (B, N, C) tokens without further ones, or "
                    "(B, C, T, H, W), from a function of your own"
                )
        if features.shape[1] != config.out_channels:
            raise ValueError(
                f"{config.factory} gives {features.shape[1]} channels, and backbone.out_channels is "
                f"{config.out_channels}; set it to {features.shape[1]}, or leave the last layer out (backbone.left_out)"
            )
        return features


def rewire_factory(trunk: FactoryTrunk) -> None:
    """Make the residual blocks of the network reversible, which are found by running it on noise."""
    config = trunk.config
    sizes = {"B": 1, "C": 3, "T": config.clip_frames, "H": config.size[0], "W": config.size[1]}
    noise = torch.randn([sizes[letter] for letter in config.takes], generator=torch.Generator().manual_seed(0))
    trunk.net = rewire(trunk.net, example=trunk.inputs(noise))


def _first_tensor(found: Any) -> Tensor:
    while not isinstance(found, Tensor):
        # A dict's or ModelOutput's first value, or the first of a tuple.
        found = next(iter(found.values() if isinstance(found, Mapping) else found))
    return found
