"""InternVideo2's video encoder: a plain transformer with RMS norms, normalised queries and keys, and layer scale.

Wang et al., "InternVideo2: Scaling Foundation Models for Multimodal Video Understanding", ECCV 2024. Names of weights
are those of the authors, under `net.`.

N sub-clips, C channels, T frames, L tokens and the class token, t/h/w tokens along time, height, width.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from re2tal.networks.backbones.video_transformers import (
    PRETRAINING_SIZE,
    PlainTransformerConfig,
    TransformerSizes,
    VideoTransformerTrunk,
    resized_positions,
    told,
)

__all__ = ["InternVideoBlock", "InternVideoConfig", "InternVideoTrunk"]

_POSITIONS = "net.pos_embed"


class InternVideoConfig(PlainTransformerConfig):
    """InternVideo2's video encoder, without the attention that pools a whole clip."""

    weight_names = "internvideo2"
    name_of_family = "InternVideo2"
    token_frames = 1
    published: ClassVar[Mapping[str, TransformerSizes]] = {
        "1b": TransformerSizes(width=1408, depth=40, heads=16, hidden=6144, patch=14),
        "6b": TransformerSizes(width=3200, depth=48, heads=25, hidden=12800, patch=14),
    }
    kind: Literal["internvideo2"] = "internvideo2"
    architecture: Literal["1b", "6b"] = "1b"
    """Its published size."""
    clip_frames: PositiveInt = 8
    """Frames that it takes at a time."""

    def build_network(self) -> "InternVideoTrunk":
        """The encoder."""
        return InternVideoTrunk(self)


class InternVideoTrunk(VideoTransformerTrunk):
    """The encoder on sub-clips."""

    config: InternVideoConfig

    def __init__(self, config: InternVideoConfig) -> None:
        super().__init__(config)
        self.net = _Encoder(config)

    def tokens(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, t * h * w, C)."""
        found: Tensor = self.net(sub_clips)[:, 1:]
        return found

    def fit(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
        """Positions, which are learned for 224 x 224 pixels and some number of frames, are interpolated."""
        positions = weights.get(_POSITIONS)
        side = PRETRAINING_SIZE // self.config.sizes.patch
        if positions is None or positions.ndim != 3 or (positions.shape[1] - 1) % side**2 or positions.shape[1] == 1:
            return weights, None
        old, new = ((positions.shape[1] - 1) // side**2, side, side), self.config.grid
        resized = resized_positions(positions[:, 1:], old, new)
        return {**weights, _POSITIONS: torch.cat((positions[:, :1], resized), dim=1)}, told(old, new)


class _PatchEmbedding(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, (1, patch, patch), stride=(1, patch, patch))


class _Encoder(nn.Module):
    def __init__(self, config: InternVideoConfig) -> None:
        super().__init__()
        sizes = config.sizes
        self.patch_embed = _PatchEmbedding(sizes.width, sizes.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + math.prod(config.grid), sizes.width))
        self.blocks = nn.Sequential(*(InternVideoBlock(sizes, share) for share in config.drop_paths))
        self._initialise()

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, 1 + L, C)."""
        tokens = self.patch_embed.proj(clips).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
        encoded: Tensor = self.blocks(tokens + self.pos_embed)
        return encoded


class InternVideoBlock(nn.Module):
    """Attention, then MLP, each after its norm and scaled by a factor for each channel."""

    def __init__(self, sizes: TransformerSizes, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(sizes.width, eps=1e-6)
        self.attn = _Attention(sizes)
        self.ls1 = _LayerScale(sizes.width)
        self.drop_path1 = StochasticDepth(drop_path, "row")
        self.norm2 = nn.RMSNorm(sizes.width, eps=1e-6)
        self.mlp = _InternVideoMlp(sizes)
        self.ls2 = _LayerScale(sizes.width)
        self.drop_path2 = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + L, C) -> the same shape."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        x = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return x


class _Attention(nn.Module):
    """Queries and keys are normalised over all heads together."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.q_norm = nn.RMSNorm(sizes.width, eps=1e-6)
        self.k_norm = nn.RMSNorm(sizes.width, eps=1e-6)
        self.proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        # Norms are computed in the type of their weights, also where autocast gives them half precision.
        precise = self.q_norm.weight.dtype
        q, k = self.q_norm(q.to(precise)).to(v.dtype), self.k_norm(k.to(precise)).to(v.dtype)
        heads = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v)]
        attended = F.scaled_dot_product_attention(*heads)  # (N, heads, 1 + L, C / heads)
        result: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return result


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _InternVideoMlp(nn.Module):
    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(self.act(self.fc1(x)))
        return result
