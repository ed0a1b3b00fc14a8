"""VideoMAE and VideoMAE V2, V-JEPA 2: transformers' networks. MViTv2: torchvision's.

Tong et al., "VideoMAE", NeurIPS 2022. Wang et al., "VideoMAE V2", CVPR 2023. Assran et al., "V-JEPA 2", 2025.
Li et al., "MViTv2", CVPR 2022.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torchvision.models.video import mvit_v2_s
from torchvision.ops import StochasticDepth

from re2tal.networks.backbones.activation_checkpointing import checkpoint_block
from re2tal.networks.backbones.fresh import FreshWeights, draw_by_width
from re2tal.networks.backbones.pixels import MEAN, STD
from re2tal.networks.backbones.video_transformers import (
    PRETRAINING_SIZE,
    PlainTransformerConfig,
    TransformerSizes,
    VideoTransformerConfig,
    VideoTransformerTrunk,
    resized_positions,
    sinusoids,
    told,
)
from re2tal.networks.zoo.named import create
from re2tal.reversible import rewire

__all__ = ["MvitConfig", "MvitTrunk", "VideoMaeConfig", "VideoMaeTrunk", "VjepaConfig", "VjepaTrunk"]


class VideoMaeConfig(PlainTransformerConfig):
    """VideoMAE, or VideoMAE V2 (of which "giant" is), without classifier and last norm: pip install "re2tal[zoo]"."""

    weight_names = "videomae"
    name_of_family = "VideoMAE"
    published: ClassVar[Mapping[str, TransformerSizes]] = {
        "small": TransformerSizes(width=384, depth=12, heads=6, hidden=1536),
        "base": TransformerSizes(width=768, depth=12, heads=12, hidden=3072),
        "large": TransformerSizes(width=1024, depth=24, heads=16, hidden=4096),
        "huge": TransformerSizes(width=1280, depth=32, heads=16, hidden=5120),
        "giant": TransformerSizes(width=1408, depth=40, heads=16, hidden=6144, patch=14),
    }
    kind: Literal["videomae"] = "videomae"
    architecture: Literal["small", "base", "large", "huge", "giant"] = "base"
    """Its published size."""
    fresh_weights: FreshWeights = "published"
    """How weights are drawn: as published, with a deviation of 0.02; or so that every layer keeps the size of its
    input, from which a small network learns faster from scratch."""

    def build_network(self) -> "VideoMaeTrunk":
        """transformers' encoder."""
        return VideoMaeTrunk(self)


class VideoMaeTrunk(VideoTransformerTrunk):
    """transformers' VideoMAEModel. Positions are sines and cosines of the pretraining's grid, interpolated."""

    config: VideoMaeConfig

    def __init__(self, config: VideoMaeConfig) -> None:
        super().__init__(config)
        sizes = config.sizes
        # For one token: the library makes positions number by number, which takes seconds; they are replaced.
        self.net = create(
            "transformers:VideoMAEModel",
            {
                "image_size": sizes.patch,
                "num_frames": config.token_frames,
                "patch_size": sizes.patch,
                "hidden_size": sizes.width,
                "num_hidden_layers": sizes.depth,
                "num_attention_heads": sizes.heads,
                "intermediate_size": sizes.hidden,
                "layer_norm_eps": 1e-6,
            },
        )
        embeddings: Any = self.net.get_submodule("embeddings")
        embeddings.patch_embeddings.image_size = config.size
        embeddings.num_patches = embeddings.patch_embeddings.num_patches = math.prod(config.grid)
        positions = sinusoids(math.prod(self._pretraining_grid), sizes.width)
        positions = resized_positions(positions, self._pretraining_grid, config.grid)
        del embeddings.position_embeddings  # a buffer, which follows the network to its device
        embeddings.register_buffer("position_embeddings", positions, persistent=False)
        layers: Any = self.net.get_submodule("encoder.layer")
        for layer, share in zip(layers, config.drop_paths, strict=True):
            # What is added to the stream goes through these last.
            layer.attention.output.dropout = StochasticDepth(share, "row")
            layer.output.dropout = StochasticDepth(share, "row")
        if config.fresh_weights == "by_width":
            draw_by_width(self)

    @property
    def _pretraining_grid(self) -> tuple[int, int, int]:
        side = PRETRAINING_SIZE // self.config.sizes.patch
        return 16 // self.config.token_frames, side, side

    def tokens(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, t * h * w, C)."""
        found: Tensor = self.net(pixel_values=sub_clips.transpose(1, 2)).last_hidden_state
        return found

    def fit(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
        """They suit every size: positions are not among them."""
        return weights, told(self._pretraining_grid, self.config.grid)


class VjepaConfig(PlainTransformerConfig):
    """The encoder of V-JEPA 2, whose positions are rotations and suit every size: pip install "re2tal[zoo]"."""

    weight_names = "vjepa2"
    name_of_family = "V-JEPA 2"
    published: ClassVar[Mapping[str, TransformerSizes]] = {
        "large": TransformerSizes(width=1024, depth=24, heads=16, hidden=4096),
        "huge": TransformerSizes(width=1280, depth=32, heads=16, hidden=5120),
        "giant": TransformerSizes(width=1408, depth=40, heads=22, hidden=6144),
    }
    kind: Literal["vjepa2"] = "vjepa2"
    architecture: Literal["large", "huge", "giant"] = "large"
    """Its published size."""
    clip_frames: PositiveInt = 64
    """Frames that it takes at a time."""

    @model_validator(mode="after")
    def _frames_are_square(self) -> "VjepaConfig":
        if self.size[0] != self.size[1]:
            raise ValueError(f"V-JEPA 2 takes frames as high as wide, got size={self.size}; set both alike")
        return self

    def build_network(self) -> "VjepaTrunk":
        """transformers' encoder."""
        return VjepaTrunk(self)


class VjepaTrunk(VideoTransformerTrunk):
    """transformers' VJEPA2Model without its predictor, which is for training without labels."""

    config: VjepaConfig

    def __init__(self, config: VjepaConfig) -> None:
        super().__init__(config)
        sizes = config.sizes
        self.net = create(
            "transformers:VJEPA2Model",
            {
                "crop_size": config.size[0],
                "frames_per_clip": config.clip_frames,
                "patch_size": sizes.patch,
                "hidden_size": sizes.width,
                "num_hidden_layers": sizes.depth,
                "num_attention_heads": sizes.heads,
                "mlp_ratio": sizes.hidden / sizes.width,
                "drop_path_rate": config.drop_path,
                "pred_num_hidden_layers": 1,
            },
        )
        self.net.predictor = nn.Identity()

    def tokens(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, t * h * w, C)."""
        frames = sub_clips.transpose(1, 2)
        found: Tensor = self.net(pixel_values_videos=frames, skip_predictor=True).last_hidden_state
        return found


class MvitConfig(VideoTransformerConfig):
    """torchvision's MViTv2-S, without class token and classifier."""

    weight_names = "mvit"
    leading_tokens = 1
    kind: Literal["mvit"] = "mvit"

    @model_validator(mode="after")
    def _tokens_are_pooled_evenly(self) -> "MvitConfig":
        if self.clip_frames % 2 or any(length % 32 for length in self.size):
            raise ValueError(
                f"MViTv2 pools 2 frames and 32 x 32 pixels, which clip_frames={self.clip_frames} and "
                f"size={self.size} must be multiples of"
            )
        return self

    @property
    def title(self) -> str:
        """Its name."""
        return "MViTv2-S"

    @property
    def out_channels(self) -> int:
        """Of the last stage."""
        return 768

    @property
    def grid(self) -> tuple[int, int, int]:
        """After the last stage."""
        return self.clip_frames // 2, self.size[0] // 32, self.size[1] // 32

    def build_network(self) -> "MvitTrunk":
        """torchvision's."""
        return MvitTrunk(self)

    def rewired(self, network: nn.Module) -> nn.Module:
        """Blocks that change the number of tokens or channels, which no chain can hold, are checkpointed."""
        assert isinstance(network, MvitTrunk)
        for block in network.net.blocks:
            if block.pool_skip is not None or block.project is not None:
                checkpoint_block(block)
        return rewire(network)


class MvitTrunk(VideoTransformerTrunk):
    """torchvision's network. Its distances of tokens are those of 16 x 224 x 224, which it interpolates itself."""

    config: MvitConfig
    factor: Tensor
    shift: Tensor

    def __init__(self, config: MvitConfig) -> None:
        super().__init__(config)
        self.net = mvit_v2_s(weights=None, stochastic_depth_prob=config.drop_path)
        self.net.head = nn.Identity()
        # Its pixels are scaled by 0.225 around 0.45, of 1.
        self.register_buffer("factor", torch.tensor(STD).view(3, 1, 1, 1) / 57.375, persistent=False)
        self.register_buffer("shift", torch.tensor(MEAN).view(3, 1, 1, 1) / 57.375 - 2, persistent=False)
        grid = (config.clip_frames // 2, config.size[0] // 4, config.size[1] // 4)
        for block in self.net.blocks:
            block.grid = grid
            pool: Any = block.get_submodule("attn").pool_q
            if pool is not None:
                grid = tuple(length // step for length, step in zip(grid, pool.pool.stride, strict=True))

    def tokens(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, t * h * w, C)."""
        x = self.net.conv_proj(sub_clips * self.factor + self.shift).flatten(2).transpose(1, 2)
        x = self.net.pos_encoding(x)  # with the class token before the others
        for block in self.net.blocks:
            x, _ = block(x, block.grid)
        found: Tensor = self.net.norm(x)[:, 1:]
        return found

    def fit(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
        """They suit every size."""
        return weights, told((8, 7, 7), self.config.grid)
