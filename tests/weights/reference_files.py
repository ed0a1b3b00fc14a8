"""Files as the reference's programs write them: every name and shape, spelled out here without the importer's help.

Three names stand side by side: that of the plain network (mmaction2), of the rewired one (Re2TAL), and ours.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, ...]


class Entry(NamedTuple):
    """One tensor of a network."""

    plain: str
    rewired: str
    ours: str | None
    """None: recomputed."""
    shape: Shape


def swin_entries(
    *,
    embed_dim: int = 96,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    heads: tuple[int, ...] = (3, 6, 12, 24),
) -> list[Entry]:
    """A Video Swin with windows of 8 x 7 x 7; the defaults are Swin-T."""
    entries = [Entry(name, name, name, shape) for name, shape in _patch_embed(embed_dim)]
    for stage, (depth, num_heads) in enumerate(zip(depths, heads, strict=True)):
        dim = embed_dim * 2**stage
        for block in range(depth):
            theirs, ours = f"layers.{stage}.blocks.{block}.", f"features.{2 * stage}.{block}."
            for part, name, own, shape in _swin_block(dim, num_heads):
                rewired = f"{theirs}inv_block.{part}.{name}"
                entries.append(Entry(theirs + name, rewired, own and ours + own, shape))
        if stage + 1 < len(depths):
            for name, shape in (
                ("reduction.weight", (2 * dim, 4 * dim)),
                ("norm.weight", (4 * dim,)),
                ("norm.bias", (4 * dim,)),
            ):
                theirs = f"layers.{stage}.downsample.{name}"
                entries.append(Entry(theirs, theirs, f"features.{2 * stage + 1}.{name}", shape))
    last = len(depths) - 1
    for kind in ("weight", "bias"):
        entries.append(Entry(f"norm{last}.{kind}", f"norm{last}.{kind}", f"norm.{kind}", (embed_dim * 2**last,)))
    return entries


def _patch_embed(dim: int) -> Iterator[tuple[str, Shape]]:
    yield "patch_embed.proj.weight", (dim, 3, 2, 4, 4)
    yield "patch_embed.proj.bias", (dim,)
    yield "patch_embed.norm.weight", (dim,)
    yield "patch_embed.norm.bias", (dim,)


def _swin_block(dim: int, heads: int) -> Iterator[tuple[str, str, str | None, Shape]]:
    """(module of the rewired block, name, our name, shape)."""
    for kind in ("weight", "bias"):
        yield "Fm", f"norm1.{kind}", f"norm1.{kind}", (dim,)
        yield "Gm", f"norm2.{kind}", f"norm2.{kind}", (dim,)
    yield "Fm", "attn.relative_position_bias_table", "attn.relative_position_bias_table", (15 * 13 * 13, heads)
    yield "Fm", "attn.relative_position_index", None, (392, 392)
    for name, outputs in (("qkv", 3 * dim), ("proj", dim)):
        yield "Fm", f"attn.{name}.weight", f"attn.{name}.weight", (outputs, dim)
        yield "Fm", f"attn.{name}.bias", f"attn.{name}.bias", (outputs,)
    for name, own, outputs, inputs in (("fc1", "0", 4 * dim, dim), ("fc2", "3", dim, 4 * dim)):
        yield "Gm", f"mlp.{name}.weight", f"mlp.{own}.weight", (outputs, inputs)
        yield "Gm", f"mlp.{name}.bias", f"mlp.{own}.bias", (outputs,)


class Pathway(NamedTuple):
    """One pathway of a SlowFast."""

    name: str
    width: int
    stem: Shape
    temporal: tuple[bool, ...]


SLOW_101 = Pathway("slow", 64, (1, 7, 7), (False, False, True, True))
FAST_101 = Pathway("fast", 8, (5, 7, 7), (True, True, True, True))


def slowfast_entries(
    *,
    blocks: tuple[int, ...] = (3, 4, 23, 3),
    slow: Pathway = SLOW_101,
    fast: Pathway = FAST_101,
    fusion: int = 7,
) -> list[Entry]:
    """A SlowFast of bottlenecks; the defaults are SlowFast-101."""
    entries = []
    for path in (slow, fast):
        inputs = path.width
        for name, shape in _conv_norm(path.width, 3, path.stem):
            entries.append(_same(f"{path.name}_path.conv1.{name}", shape))
        for stage, count in enumerate(blocks):
            if path is slow:  # the fast features come in, doubled
                width = fast.width * (1 if stage == 0 else 4 * 2 ** (stage - 1))
                lateral = "conv1_lateral" if stage == 0 else f"layer{stage}_lateral"
                entries.append(_same(f"slow_path.{lateral}.conv.weight", (2 * width, width, fusion, 1, 1)))
                inputs += 2 * width
            width = path.width * 2**stage
            for block in range(count):
                layer = f"{path.name}_path.layer{stage + 1}."
                entries += _bottleneck(layer, block, inputs, width, path.temporal[stage])
                inputs = 4 * width
    return entries


def _bottleneck(layer: str, block: int, inputs: int, width: int, temporal: bool) -> Iterator[Entry]:
    branch = "Fm." if block == 0 else "inv_block.Fm."
    for conv, outputs, ins, kernel in (
        ("conv1", width, inputs, (3 if temporal else 1, 1, 1)),
        ("conv2", width, width, (1, 3, 3)),
        ("conv3", 4 * width, width, (1, 1, 1)),
    ):
        for name, shape in _conv_norm(outputs, ins, kernel):
            plain = f"{layer}{block}.{conv}.{name}"
            yield Entry(plain, f"{layer}blocks.{block}.{branch}{conv}.{name}", plain, shape)
    if block == 0:
        for name, shape in _conv_norm(4 * width, inputs, (1, 1, 1)):
            plain = f"{layer}0.downsample.{name}"
            yield Entry(plain, f"{layer}blocks.0.downsample.{name}", plain, shape)


def _conv_norm(outputs: int, inputs: int, kernel: Shape) -> Iterator[tuple[str, Shape]]:
    yield "conv.weight", (outputs, inputs, *kernel)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"bn.{name}", (outputs,)
    yield "bn.num_batches_tracked", ()


def _same(name: str, shape: Shape) -> Entry:
    return Entry(name, name, name, shape)


Named = tuple[str, str, Shape]
"""OpenTAD's name, our name, shape."""


def actionformer_entries(
    *,
    inputs: int,
    channels: int,
    classes: int,
    arch: tuple[int, int, int] = (2, 2, 5),
    head_convs: int = 2,
) -> list[Named]:
    """Pyramid and head of a detector; the defaults are the published ones."""
    found: list[Named] = []
    for index in range(arch[0]):
        names = f"projection.embed.{index}", f"pyramid.embed.{index}"
        found += _conv_and_norm(*names, (channels, channels if index else inputs, 3))
    for name in [f"stem.{i}" for i in range(arch[1])] + [f"branch.{i}" for i in range(arch[2])]:
        found += _transformer_block(f"projection.{name}", f"pyramid.{name}", channels)
    for level in range(arch[2] + 1):
        found += _with_bias(f"neck.fpn_norms.{level}", f"pyramid.norms.{level}", (channels,))
        found.append((f"rpn_head.scale.{level}.scale", f"head.scale.{level}.scale", ()))
    found.append(("rpn_head.loss_normalizer", "head.loss_normalizer", ()))
    for name in (f"{tower}.{index}" for tower in ("cls_convs", "reg_convs") for index in range(head_convs)):
        found += _conv_and_norm(f"rpn_head.{name}", f"head.{name}", (channels, channels, 3))
    found += _with_bias("rpn_head.cls_head", "head.cls_head", (classes, channels, 3))
    found += _with_bias("rpn_head.reg_head", "head.reg_head", (2, channels, 3))
    return found


def _transformer_block(theirs: str, ours: str, channels: int) -> Iterator[Named]:
    for norm in ("ln1", "ln2", "attn.query_norm", "attn.key_norm", "attn.value_norm"):
        yield from _with_bias(f"{theirs}.{norm}", f"{ours}.{norm}", (channels,))
    for role in ("query", "key", "value"):
        yield f"{theirs}.attn.{role}_conv.conv.weight", f"{ours}.attn.{role}_conv.conv.weight", (channels, 1, 3)
    for role in ("query", "key", "value", "proj"):
        yield from _with_bias(f"{theirs}.attn.{role}", f"{ours}.attn.{role}", (channels, channels, 1))
    yield from _with_bias(f"{theirs}.mlp.0", f"{ours}.mlp.0", (4 * channels, channels, 1))
    yield from _with_bias(f"{theirs}.mlp.3", f"{ours}.mlp.3", (channels, 4 * channels, 1))
    for role in ("attn", "mlp"):
        yield f"{theirs}.drop_path_{role}.scale", f"{ours}.drop_path_{role}.scale", (1, channels, 1)


def _conv_and_norm(theirs: str, ours: str, weight: Shape) -> Iterator[Named]:
    yield f"{theirs}.conv.weight", f"{ours}.conv.weight", weight
    yield from _with_bias(f"{theirs}.norm", f"{ours}.norm", weight[:1])


def _with_bias(theirs: str, ours: str, weight: Shape) -> Iterator[Named]:
    yield f"{theirs}.weight", f"{ours}.weight", weight
    yield f"{theirs}.bias", f"{ours}.bias", weight[:1]


def numbered(shapes: Iterable[tuple[str, Shape]], *, start: int = 1) -> dict[str, Tensor]:
    """A tensor for every name, each filled with a number of its own; whole counts for what counts.

    On disk each takes one number.
    """

    def value(name: str, number: int) -> Tensor:
        is_count = name.endswith(("relative_position_index", "num_batches_tracked", "loss_normalizer"))
        return torch.tensor(number, dtype=torch.int64 if is_count else torch.float32)

    return {name: value(name, number).expand(shape) for number, (name, shape) in enumerate(shapes, start)}


def classifier(inputs: int, classes: int = 400) -> dict[str, Tensor]:
    """The head of a recogniser of mmaction2."""
    return {"cls_head.fc_cls.weight": torch.zeros(classes, inputs), "cls_head.fc_cls.bias": torch.zeros(classes)}


def opentad_checkpoint(
    state: dict[str, Tensor], *, averaged: dict[str, Tensor] | None, epoch: int = 119
) -> dict[str, Any]:
    """What OpenTAD's training saves, DistributedDataParallel's prefix included."""
    content = {
        "epoch": epoch,
        "state_dict": _with_prefix("module.", state),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
        "scheduler": {"last_epoch": epoch, "base_lrs": [1e-5, 1e-4]},
    }
    if averaged is not None:
        content["state_dict_ema"] = _with_prefix("module.", averaged)
    return content


def _with_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}
