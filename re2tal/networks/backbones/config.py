"""What the configs of all backbones have in common."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from re2tal.common.extension import Extensible
from re2tal.reversible import rewire

__all__ = ["NetworkConfig", "TrainingStrategy"]

TrainingStrategy = Literal["plain", "checkpointed", "reversible"]
"""How a backbone is trained."""


class NetworkConfig(Extensible):
    """How any backbone is trained and where its weights come from; a class for each network says what it is.

    Its network maps (B, 3, T, H, W) uint8 RGB to one or more feature maps (B, C_i, T_i, H_i, W_i). The C_i add up to
    `out_channels`, a field or a property of the class.
    """

    weight_names: ClassVar[
        Literal["swin", "slowfast", "videomae", "vjepa2", "internvideo2", "mvit", "factory", "precomputed"]
    ] = "factory"
    """Whose names of weights are known; "factory": they stay as a file has them."""
    strategies: ClassVar[tuple[TrainingStrategy, ...]] = ("plain",)
    """In which `re2tal plan` can dry-run a step; "reversible" where `rewired` does without values of tensors."""

    reversible: bool | Literal["auto"] = False
    """Rewire the stages, so that training stores no activations inside them; "auto": rewire them, and store as many
    activations as `training.memory` has room for, which saves the time of computing them again. The gradients are the
    same, bit for bit."""
    alpha: float = Field(default=0.0, ge=0, le=1)
    """How much of its input a module of a rewired stage passes on beside what it adds (Dr2Net). 0 is Re2TAL; 1, with
    `beta` near 0, is near the network that was rewired, whose weights then need no training on trimmed clips first.
    `training.anneal_epochs` leads from there to Re2TAL."""
    beta: float = Field(default=1.0, ge=0, le=1)
    """How much it passes on of what the module before it was given. 1 is Re2TAL. Below 1, log2(1 / beta) bits of every
    element and module are kept in training; with 0, all of them."""
    tile_mib: Annotated[float, Field(gt=0)] | Literal["auto", "off"] = "auto"
    """What a tile of a rewired stage may take in training, about, in MiB; "auto": what suits the device; "off": stages
    are computed in whole branches."""
    activation_checkpointing: bool = False
    """Store only the input of every block and run it again in the backward pass: less memory, a third more time."""
    freeze_norms: bool = True
    """Keep norm layers as pretrained, batch norm's statistics included, and do not train them; False from scratch."""
    frozen: bool = False
    """Train nothing of the backbone and keep it in eval mode: it is the same function of the frames from beginning to
    end, so its features may be stored (`re2tal extract`, `data.features`)."""
    pretrained: Path | None = None
    """File of weights that training starts from: of mmaction2, torchvision, transformers, the authors of a video
    transformer, the published Re2 weights, a detector's checkpoint, or what `re2tal import-weights` made of one. None:
    fresh weights."""
    pretrained_allow: tuple[str, ...] = ()
    """Names (or patterns like `features.6.*`) that may be missing, unknown or of another shape in that file."""

    if TYPE_CHECKING:  # an abstract property could not be overridden by a field

        @property
        def out_channels(self) -> int:
            """Channels of all its feature maps together."""

    @property
    def is_rewired(self) -> bool:
        """Whether the network computes what a rewired one does, whatever it stores."""
        return self.reversible is not False

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network, not rewired, with fresh weights."""

    def rewired(self, network: nn.Module) -> nn.Module:
        """The network with its residual blocks reversible, under the same names of weights."""
        return rewire(network)

    def executed_file(self) -> str | None:
        """The source of code that building the network executes, if there is any beside its class."""
        return None

    @property
    def clip_multiple(self) -> int:
        """Clips have a multiple of so many frames."""
        return 1

    def require_clips(self, *, num_frames: int, crop_size: tuple[int, int]) -> None:
        """Refuse clips that it cannot take, by a ValueError."""

    @model_validator(mode="after")
    def _frozen_weights_come_from_somewhere(self) -> "NetworkConfig":
        if self.frozen and self.pretrained is None:
            raise ValueError(
                "a frozen backbone keeps the weights it starts with, and pretrained=None means random ones; "
                "set backbone.pretrained, or frozen=False"
            )
        return self

    @model_validator(mode="after")
    def _coefficients_are_of_a_rewired_network(self) -> "NetworkConfig":
        if (self.alpha, self.beta) != (0, 1) and not self.reversible:
            raise ValueError(
                f"alpha and beta are of a rewired network, got {self.alpha:g} and {self.beta:g} with reversible=False; "
                "set reversible=True, or alpha=0 and beta=1"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_save_memory(self) -> "NetworkConfig":
        if self.reversible and self.activation_checkpointing:
            raise ValueError(
                "reversible and activation_checkpointing are two ways to the same end, got both; set one of them"
            )
        return self
