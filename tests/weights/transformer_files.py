"""Files of video transformers: every name and shape as their authors have them, and what such weights compute.

Names and arithmetic are spelled out here, without the importer's help and without the networks' code.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]
Weights = dict[str, Tensor]

WIDTH, DEPTH, HEADS, HIDDEN, PATCH = 24, 2, 2, 40, 8
"""Of the tiny networks of these files."""


class Sizes(NamedTuple):
    """Of a network."""

    width: int = WIDTH
    depth: int = DEPTH
    hidden: int = HIDDEN
    patch: int = PATCH


TINY = Sizes()


def _with_bias(name: str, weight: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def video_mae(sizes: Sizes = TINY) -> dict[str, Shape]:
    """The encoder of VideoMAE and VideoMAE V2, as both their authors name it."""
    width, patch = sizes.width, sizes.patch
    shapes = dict(_with_bias("patch_embed.proj", (width, 3, 2, patch, patch)))
    for block in (f"blocks.{n}." for n in range(sizes.depth)):
        shapes |= dict(_with_bias(block + "norm1", (width,)))
        shapes |= {block + "attn.q_bias": (width,), block + "attn.v_bias": (width,)}
        shapes |= {block + "attn.qkv.weight": (3 * width, width)}
        shapes |= dict(_with_bias(block + "attn.proj", (width, width)))
        shapes |= dict(_with_bias(block + "norm2", (width,)))
        shapes |= _mlp(block, sizes)
    return shapes


def _mlp(block: str, sizes: Sizes) -> dict[str, Shape]:
    into, out = (sizes.hidden, sizes.width), (sizes.width, sizes.hidden)
    return dict(_with_bias(block + "mlp.fc1", into)) | dict(_with_bias(block + "mlp.fc2", out))


def vjepa2(sizes: Sizes = TINY) -> dict[str, Shape]:
    """The encoder of V-JEPA 2."""
    width, patch = sizes.width, sizes.patch
    shapes = dict(_with_bias("patch_embed.proj", (width, 3, 2, patch, patch)))
    for block in (f"blocks.{n}." for n in range(sizes.depth)):
        shapes |= dict(_with_bias(block + "norm1", (width,)))
        shapes |= dict(_with_bias(block + "attn.qkv", (3 * width, width)))
        shapes |= dict(_with_bias(block + "attn.proj", (width, width)))
        shapes |= dict(_with_bias(block + "norm2", (width,)))
        shapes |= _mlp(block, sizes)
    return shapes | dict(_with_bias("norm", (width,)))


def intern_video2(sizes: Sizes = TINY, *, frames: int, side: int) -> dict[str, Shape]:
    """The video encoder of InternVideo2, for so many frames and patches along each side."""
    width, patch = sizes.width, sizes.patch
    shapes: dict[str, Shape] = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + frames * side**2, width)}
    shapes |= dict(_with_bias("patch_embed.proj", (width, 3, 1, patch, patch)))
    for block in (f"blocks.{n}." for n in range(sizes.depth)):
        shapes |= {block + "norm1.weight": (width,), block + "norm2.weight": (width,)}
        shapes |= {block + "attn.qkv.weight": (3 * width, width)}
        shapes |= {block + "attn.q_norm.weight": (width,), block + "attn.k_norm.weight": (width,)}
        shapes |= dict(_with_bias(block + "attn.proj", (width, width)))
        shapes |= {block + "ls1.gamma": (width,), block + "ls2.gamma": (width,)}
        shapes |= _mlp(block, sizes)
    return shapes


def drawn(shapes: dict[str, Shape], *, seed: int = 0) -> Weights:
    """Random values for every name."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def as_mmaction2(weights: Weights) -> Weights:
    """VideoMAE's, as mmaction2 names them."""
    names = {"patch_embed.proj.": "patch_embed.projection.", "mlp.fc1.": "mlp.layers.0.0.", "mlp.fc2.": "mlp.layers.1."}
    return {_replaced(name, names): value for name, value in weights.items()}


def video_mae_as_transformers(weights: Weights, *, biases: tuple[str, str]) -> Weights:
    """VideoMAE's, as transformers names them; what it calls the biases of queries and values has changed."""
    names = {
        "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
        "blocks.": "encoder.layer.",
        ".norm1.": ".layernorm_before.",
        ".norm2.": ".layernorm_after.",
        ".attn.q_bias": f".attention.attention.{biases[0]}",
        ".attn.v_bias": f".attention.attention.{biases[1]}",
        ".attn.qkv.": ".attention.attention.qkv.",
        ".attn.proj.": ".attention.output.dense.",
        ".mlp.fc1.": ".intermediate.dense.",
        ".mlp.fc2.": ".output.dense.",
    }
    return _unfused({_replaced(name, names): value for name, value in weights.items()})


def vjepa2_as_transformers(weights: Weights) -> Weights:
    """V-JEPA 2's, as transformers names them."""
    names = {
        "patch_embed.proj.": "encoder.embeddings.patch_embeddings.proj.",
        "blocks.": "encoder.layer.",
        ".attn.": ".attention.",
    }
    found = {_replaced(name, names): value for name, value in weights.items()}
    for kind in ("weight", "bias"):
        found[f"encoder.layernorm.{kind}"] = found.pop(f"norm.{kind}")
    return _unfused(found)


def _replaced(name: str, names: dict[str, str]) -> str:
    for theirs, other in names.items():
        name = name.replace(theirs, other)
    return name


def _unfused(weights: Weights) -> Weights:
    found: Weights = {}
    for name, value in weights.items():
        if ".qkv." in name:
            for part, role in zip(value.split(WIDTH), ("query", "key", "value"), strict=True):
                found[name.replace(".qkv.", f".{role}.")] = part.clone()
        else:
            found[name] = value
    return found


# What they compute

Norm = Callable[[Tensor, str], Tensor]


def sinusoid_positions(old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """VideoMAE's (t * h * w, C) positions of one grid, interpolated frame by frame and then in time to another."""
    table = np.array(
        [[place / 10000 ** (2 * (c // 2) / WIDTH) for c in range(WIDTH)] for place in range(math.prod(old))]
    )
    table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
    return interpolated(torch.from_numpy(table).float(), old, new)


def interpolated(table: Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """(t * h * w, C) of one grid -> of another."""
    frames = []
    for frame in table.view(*old, WIDTH):
        scaled = F.interpolate(frame.permute(2, 0, 1)[None], size=new[1:], mode="bicubic", align_corners=False)
        frames.append(scaled[0].flatten(1))  # (C, h * w)
    lines = torch.stack(frames, dim=-1).flatten(0, 1)[None]  # (1, C * h * w, t)
    stretched = F.interpolate(lines, size=new[0], mode="linear", align_corners=False)
    return stretched.view(WIDTH, -1, new[0]).permute(2, 1, 0).reshape(-1, WIDTH)


def patches(weights: Weights, frames: Tensor) -> Tensor:
    """(N, 3, T, H, W) -> (N, tokens, C): every patch times a matrix."""
    weight = weights["patch_embed.proj.weight"]
    length, size = weight.shape[2], weight.shape[3]
    cut = frames.unfold(2, length, length).unfold(3, size, size).unfold(4, size, size)  # (N, 3, t, h, w, l, s, s)
    cut = cut.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(1, 3)
    return cut @ weight.flatten(1).T + weights["patch_embed.proj.bias"]


def layer_norm(weights: Weights) -> Norm:
    """Over the channels, with weight and bias."""

    def norm(x: Tensor, name: str) -> Tensor:
        y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        return y * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    return norm


def rms_norm(weights: Weights) -> Norm:
    """By the root of the mean square."""
    return lambda x, name: x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weights[f"{name}.weight"]


def encode(
    weights: Weights,
    x: Tensor,
    *,
    norm: Norm,
    bias: Callable[[str], Tensor | None],
    turn: Callable[[Tensor], Tensor] = lambda x: x,
    scaled: bool = False,
) -> Tensor:
    """All blocks, (N, tokens, C) -> the same shape.

    Args:
        weights: under the authors' names.
        x: tokens with positions.
        norm: of tokens.
        bias: of queries, keys and values together, by the name of the attention.
        turn: of queries and keys, (N, heads, tokens, C / heads).
        scaled: queries and keys are normalised, and what is added is scaled.
    """

    def heads(y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], HEADS, -1).transpose(1, 2)

    for block in (f"blocks.{n}" for n in range(DEPTH)):
        fused = norm(x, f"{block}.norm1") @ weights[f"{block}.attn.qkv.weight"].T
        added = bias(f"{block}.attn")
        q, k, v = (fused if added is None else fused + added).split(WIDTH, -1)
        if scaled:
            q, k = norm(q, f"{block}.attn.q_norm"), norm(k, f"{block}.attn.k_norm")
        scores = turn(heads(q)) @ turn(heads(k)).transpose(-1, -2) / math.sqrt(WIDTH / HEADS)
        y = (scores.softmax(-1) @ heads(v)).transpose(1, 2).flatten(2)
        y = y @ weights[f"{block}.attn.proj.weight"].T + weights[f"{block}.attn.proj.bias"]
        x = x + (y * weights[f"{block}.ls1.gamma"] if scaled else y)
        y = norm(x, f"{block}.norm2") @ weights[f"{block}.mlp.fc1.weight"].T + weights[f"{block}.mlp.fc1.bias"]
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
        y = y @ weights[f"{block}.mlp.fc2.weight"].T + weights[f"{block}.mlp.fc2.bias"]
        x = x + (y * weights[f"{block}.ls2.gamma"] if scaled else y)
    return x


def rotated(grid: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
    """V-JEPA 2's rotation of (N, heads, tokens, D) queries or keys: thirds of D turn by time, height and width."""
    places = torch.cartesian_prod(*(torch.arange(length, dtype=torch.float32) for length in grid))  # (tokens, 3)

    def turn(x: Tensor) -> Tensor:
        third = 2 * (x.shape[-1] // 3 // 2)
        parts = list(x.split([third] * 3 + [x.shape[-1] - 3 * third], -1))
        for axis in range(3):
            angle = places[:, axis, None] / 10000 ** (torch.arange(third // 2) / (third / 2))
            # Angles are repeated one after the other, though pairs are of neighbours.
            angle = torch.cat((angle, angle), dim=-1)
            even, odd = parts[axis][..., 0::2], parts[axis][..., 1::2]
            other = torch.stack((-odd, even), dim=-1).flatten(-2)
            parts[axis] = parts[axis] * angle.cos() + other * angle.sin()
        return torch.cat(parts, dim=-1)

    return turn
