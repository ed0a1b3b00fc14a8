"""What the configs of all backbones have in common."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import nn

from re2tal.common.extension import Extensible, OneOf
from re2tal.networks.adapters import (
    AdapterSettings,
    BlockLayout,
    LadderConfig,
    LowRankConfig,
    TemporalAdapterConfig,
)
from re2tal.reversible import rewire

__all__ = ["NetworkConfig", "Reversible", "TrainingStrategy"]

TrainingStrategy = Literal["plain", "checkpointed", "reversible"]
"""How a backbone is trained."""
Reversible = bool | Literal["auto"]
"""Whether a backbone is rewired; "auto": it is, and stores as many activations as memory has room for."""


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

    reversible: Reversible = False
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
    compile: bool = False
    """Compile the branches of rewired stages (`torch.compile`'s inductor, which needs a C++ compiler on a CPU): fewer
    kernels, after minutes at the beginning of a run, and once more for every other size of clips."""
    streams_on_host: bool = False
    """Keep what rewired stages keep for the backward pass, and the raw frames, in the host's memory while later stages
    and the head run on an accelerator. The streams of the last stage stay."""
    activation_checkpointing: bool = False
    """Store only the input of every block and run it again in the backward pass: less memory, a third more time."""
    freeze_norms: bool = True
    """Keep norm layers as pretrained, batch norm's statistics included, and do not train them; False from scratch."""
    adapter: Annotated[AdapterSettings, OneOf(TemporalAdapterConfig, LadderConfig, LowRankConfig)] | None = None
    """Small networks that are trained inside the pretrained one (kind temporal: AdaTAD's; lora), or beside it (ladder).
    On the command line: backbone.adapter={'kind':'temporal','hidden_ratio':0.125}."""
    train_from: NonNegativeInt | Literal["auto", "none"] = "auto"
    """First block whose own weights are trained, counted from 0; what lies below is frozen, in eval mode, and kept out
    of the backward pass unless it has adapters. "none": no own weights; "auto": with an adapter none, else all."""
    chunk_frames: PositiveInt | None = None
    """Cut clips into chunks of so many frames, each of which goes through the network as if it were a clip. What one
    chunk shows has no influence on the features of another; `sampled_gradients` needs that, and testing then computes
    what windows have in common once. None: only networks that take clips of one length (`clip_frames`) have chunks."""
    sampled_gradients: float = Field(default=1.0, gt=0, le=1)
    """Share of a clip's chunks that get gradients in a training step, drawn anew each time, at least one. The other
    chunks are computed without autograd, so that memory goes with the share. The gradients are multiplied by one over
    the share, so that their mean over the draws is the gradient through all chunks. Batch norms that are not frozen
    see one part of the chunks at a time. 1: all chunks."""
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
    def runs_dry(self) -> bool:
        """Whether `re2tal plan` can dry-run a step."""
        return bool(self.strategies) and (self.adapter is None or self.adapter.runs_dry)

    def block_layout(self) -> BlockLayout:
        """What its blocks hand on to each other, which adapters have to know."""
        return BlockLayout()

    @property
    def clip_multiple(self) -> int:
        """Clips have a multiple of so many frames."""
        return 1

    @property
    def chunk_length(self) -> int | None:
        """Frames of the chunks that do not see each other; None: clips are seen as a whole."""
        return self.chunk_frames

    def require_whole_chunks(self, num_frames: int) -> None:
        """Refuse clips that cannot be cut into chunks, by a ValueError."""
        if self.chunk_frames is not None and num_frames % self.chunk_frames:
            raise ValueError(
                f"clips of {num_frames} frames cannot be cut into chunks of backbone.chunk_frames={self.chunk_frames}; "
                "give clips a multiple of that, by data.sampling.num_steps or data.sampling.frames_per_step"
            )

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
    def _something_is_trained(self) -> "NetworkConfig":
        if self.frozen and (self.adapter is not None or self.train_from != "auto"):
            raise ValueError(
                "a frozen backbone has nothing to train, got frozen=True beside an adapter or train_from; set "
                "backbone.frozen=False: with an adapter its own weights stay as they are"
            )
        if self.train_from == "none" and self.adapter is None:
            raise ValueError(
                'train_from="none" without an adapter trains nothing of the backbone; set backbone.frozen=True, or '
                "backbone.adapter"
            )
        if self.adapter is not None and self.train_from in ("auto", "none") and self.pretrained is None:
            raise ValueError(
                "an adapter leaves the network's own weights as they are, and pretrained=None means random ones; set "
                "backbone.pretrained, or backbone.train_from=0 to train them, too"
            )
        return self

    @model_validator(mode="after")
    def _a_ladder_stands_beside(self) -> "NetworkConfig":
        beside = self.adapter is not None and not self.adapter.trains_inside
        saves = self.reversible or self.activation_checkpointing
        if beside and (saves or self.train_from not in ("auto", "none")):
            raise ValueError(
                "no gradient passes through the blocks that a ladder stands beside, so there is nothing to train, to "
                "recompute or to reverse in them; set backbone.train_from=auto, backbone.reversible=False and "
                "backbone.activation_checkpointing=False"
            )
        return self

    @model_validator(mode="after")
    def _gradients_can_be_sampled(self) -> "NetworkConfig":
        if self.chunk_frames is not None and self.chunk_frames % self.clip_multiple:
            raise ValueError(
                f"chunk_frames must be a multiple of the {self.clip_multiple} frames that the network takes at a time, "
                f"got {self.chunk_frames}; write {-(-self.chunk_frames // self.clip_multiple) * self.clip_multiple}"
            )
        if self.sampled_gradients == 1:
            return self
        if self.frozen:
            raise ValueError(
                f"a frozen backbone gets no gradients, got sampled_gradients={self.sampled_gradients:g}; leave it out"
            )
        if self.reversible == "auto":
            raise ValueError(
                "reversible=auto chooses what to store by steps in which all chunks get gradients, got "
                f"sampled_gradients={self.sampled_gradients:g}; set backbone.reversible=True or False"
            )
        if self.chunk_length is None:
            raise ValueError(
                f"gradients are sampled by chunks, got sampled_gradients={self.sampled_gradients:g} for a network that "
                "sees clips as a whole; set backbone.chunk_frames to the frames of a chunk, such as 32"
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
    def _what_is_of_streams_needs_some(self) -> "NetworkConfig":
        for name in ("compile", "streams_on_host"):
            if getattr(self, name) and not self.reversible:
                raise ValueError(
                    f"{name} is of a rewired network, got {name}=True with reversible=False; set reversible=True, or "
                    f"{name}=False"
                )
        return self

    @model_validator(mode="after")
    def _one_way_to_save_memory(self) -> "NetworkConfig":
        if self.reversible and self.activation_checkpointing:
            raise ValueError(
                "reversible and activation_checkpointing are two ways to the same end, got both; set one of them"
            )
        return self
