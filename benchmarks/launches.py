"""Kernels that a training step launches, and times it waits for the device: exact counts, of tensors without values.

    python benchmarks/launches.py [--frames 64] [--size 224] [--json]

Every operation counts that is no view and allocates more than memory, for backbones alone and for the THUMOS detector
with its losses, clipping, optimizer and averaged weights. It runs on the meta device, where the package does what it
does on an accelerator. A wait is a value that the program asks for.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import optimizer
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode

from re2tal.common.types import Batch, Detections
from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.experiments.planning.dry_run import NoBatches, example_batch
from re2tal.experiments.planning.tracker import answer_without_values
from re2tal.inference import ClipDetector
from re2tal.networks.backbones import BackboneConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.reversible import set_tiles
from re2tal.training import Processes, RunFolder, Trainer

GIB = 2**30
WAYS: dict[str, int | None] = {"plain": None, "whole": None, "24/64 GiB": 24 * GIB // 64, "139/64 GiB": 139 * GIB // 64}
"""Tiles of a 64th of the memory of usual accelerators."""
BACKBONES: dict[str, BackboneConfig] = {"Swin-T": SwinConfig(), "SlowFast-101": SlowFastConfig()}

DETECTOR = Path(__file__).parents[1] / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py"

_VALUE = torch.ops.aten._local_scalar_dense.default
_INDEX = torch.ops.aten.index.Tensor
_COPY = torch.ops.aten._to_copy.default
_NO_KERNEL = ("empty", "new_empty", "detach", "_local_scalar_dense", "equal", "is_", "promote_types")


class Counted(TorchDispatchMode):
    """Counts operations by name, and answers what depends on values that are not there."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func in (_VALUE, _INDEX) and args[0].is_meta and (answer := answer_without_values(func, args)) is not None:
            self.waits += 1  # also for how much a mask selects
            return answer
        if func is _COPY and args[0].is_meta and (kwargs or {}).get("device") == torch.device("cpu"):
            self.waits += 1
            return torch.ones(args[0].shape, dtype=args[0].dtype, device="cpu")
        result = func(*args, **(kwargs or {}))
        on_device = any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in _leaves((args, kwargs, result)))
        if on_device and not _is_view(func) and not name.startswith(_NO_KERNEL) and not str(func).startswith("prim"):
            self.kernels[name] += 1
        return result


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Inside, the meta device has CUDA's kernels for lists of tensors, and for attention."""
    with ExitStack() as stack:
        for module in (_foreach_utils, optimizer):
            stack.enter_context(patch.object(module, "_get_foreach_kernels_supported_devices", lambda: ["meta"]))
        # Not as a mode, which would not reach the threads of backward passes.
        stack.enter_context(patch.object(F, "scaled_dot_product_attention", _fused_attention))
        yield


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """By the kernel that CUDA has for attention with a mask."""
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, -math.inf)
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, attn_mask, True)[0]


def _leaves(values: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(values)


def _is_view(func: Any) -> bool:
    return any(given.alias_info is not None and not given.alias_info.is_write for given in func._schema.returns)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Inside, modules and tensors are made there."""
    with torch.device("meta"):
        yield


def count(step: Callable[[], object]) -> Counted:
    """Of a step after the first one, which traces, and chooses formats."""
    for _ in range(2):
        with as_on_cuda(), Counted() as counted:
            step()
    return counted


def backbone_step(config: BackboneConfig, way: str, *, frames: int, size: int) -> Callable[[], object]:
    """A forward and backward pass."""
    with on_meta_device(), Counted():
        model = build_backbone(config.model_copy(update={"reversible": way != "plain"})).train()
        clip = torch.zeros(1, 3, frames, size, size, dtype=torch.uint8)
    if way != "plain":
        set_tiles(model, WAYS[way])
    return lambda: _train(model, clip, frames // 2)


def _train(model: nn.Module, clip: Tensor, num_steps: int) -> None:
    model.zero_grad(set_to_none=True)
    model(clip, num_steps).square().mean().backward()


def detector_step(way: str) -> Callable[[], object]:
    """A step of `re2tal train` with the paper's Swin-T on a THUMOS clip of 1024 frames."""
    options = [f"backbone.reversible={way != 'plain'}", "training.amp=none"]
    return training_step(load_config(DETECTOR, options), tiles=WAYS[way])


def training_step(config: ExperimentConfig, *, tiles: int | None) -> Callable[[], object]:
    """A step of an experiment's training on one clip."""
    trainer, batch = training_of(config, tiles=tiles)
    return lambda: trainer.step([batch])


def training_of(config: ExperimentConfig, *, tiles: int | None) -> tuple[Trainer, Batch]:
    """An experiment's training on the meta device, and one clip, which is still on the host, as loaders give it."""
    processes = Processes(device=torch.device("meta"))
    with on_meta_device(), Counted():
        model = build_detector(config, num_classes=20)
        about = {"loader": NoBatches(), "folder": RunFolder(Path()), "about": {}}
        trainer = Trainer(model, config=config.training, processes=processes, **about)
    batch = example_batch(config, num_classes=20, num_clips=1)
    if config.backbone.reversible:
        set_tiles(model, tiles)
    trainer.anomalies.judge = lambda *_, **__: False  # type: ignore[method-assign]  # what has no value is not finite
    return trainer, batch


def detect(config: ExperimentConfig, trainer: Trainer, batch: Batch) -> tuple[list[Detections], Counted]:
    """What the averaged weights find in clips, after post-processing, and what finding it has launched."""
    detector = ClipDetector(trainer.ema.module, config=config, device=trainer.processes.device, video_labels=None)
    with Counted() as counted:
        found = [detector.in_video([clip]) for clip in detector.in_batch(batch)]
    return found, counted


def table(*, frames: int, size: int) -> list[dict[str, Any]]:
    """A row for every network and way."""
    rows = []
    steps: dict[str, Callable[[str], Callable[[], object]]] = {
        name: partial(backbone_step, config, frames=frames, size=size) for name, config in BACKBONES.items()
    }
    steps["THUMOS detector"] = detector_step
    for name, step in steps.items():
        plain = 0
        for way in WAYS:
            counted = count(step(way))
            total = counted.kernels.total()
            plain = plain or total
            rows.append(
                {
                    "network": name,
                    "way": way,
                    "kernels": total,
                    "of_plain": round(total / plain, 2),
                    "waits": counted.waits,
                    "most": dict(counted.kernels.most_common(8)),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = table(frames=args.frames, size=args.size)
    if args.json:
        print(json.dumps({"frames": args.frames, "size": args.size, "rows": rows}))
        return
    print(f"{args.frames} frames of {args.size} x {args.size} pixels\n")
    print(f"{'network':16} {'way':12} {'kernels':>8} {'of plain':>9} {'waits':>6}")
    for row in rows:
        print(f"{row['network']:16} {row['way']:12} {row['kernels']:8,} {row['of_plain']:9.2f} {row['waits']:6}")


if __name__ == "__main__":
    main()
