"""Memory and time of one training step of a backbone, in a fresh process.

    python benchmarks/train_step.py --backbone swin_tiny --mode reversible --frames 64 [--size 224] [--batch 1] [--json]

Modes: `plain` is the original network under ordinary autograd, `checkpoint` the same with activation checkpointing of
every block, `store` the rewired one under ordinary autograd, `reversible` the rewired one without stored activations.
Everything a training loop would hold counts as activation: input, streams, saved tensors, parameters' gradients.
`--compare` adds the errors of the reversible gradients. `--inference` runs forward passes without gradients instead.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from re2tal.experiments.device_check.measuring import NETWORKS, build_with, gradient_errors, gradients, run_step
from re2tal.experiments.device_check.sizes import StepStrategy
from re2tal.networks.backbones import Backbone, BackboneConfig
from re2tal.reversible import reconstruction_error, set_tiles

CONFIGS: dict[str, BackboneConfig] = {"swin_tiny": NETWORKS["Swin-T"], "slowfast101": NETWORKS["SlowFast-101"]}
STRATEGIES: dict[str, StepStrategy] = {
    "plain": "plain",
    "checkpoint": "checkpointed",
    "store": "stored",
    "reversible": "reversible",
}
MIB = 2**20
MANY_FRAMES = 256
"""A longer clip is stepped through once after the warm-up."""


def peak_mib() -> float:
    """The process's own largest resident memory so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / MIB


def resident_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def build(backbone: str, mode: str, *, tiles: str = "auto", depths: list[int] | None = None) -> Backbone:
    name = "depths" if backbone == "swin_tiny" else "blocks"
    config = CONFIGS[backbone].model_copy(update={name: tuple(depths)} if depths else {})
    model = build_with(config, STRATEGIES[mode])
    if mode in ("store", "reversible") and tiles != "auto":
        set_tiles(model, None if tiles == "off" else round(float(tiles) * MIB))
    return model


def step(model: Backbone, frames: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """One forward and backward pass; seconds of the forward pass and of both."""
    start = time.perf_counter()
    forward_s = run_step(model, frames, frames.shape[2] // 2, dtype=dtype)
    return forward_s, time.perf_counter() - start


def infer(model: Backbone, frames: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """One forward pass as in testing; its seconds, twice."""
    start = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        model(frames, frames.shape[2] // 2)
    seconds = time.perf_counter() - start
    return seconds, seconds


# Errors of gradients


def compare(model: Backbone, frames: Tensor) -> dict[str, Any]:
    """Reversible against plain autograd on the same grid, and both against plain autograd in float64."""
    inputs = frames, frames.shape[2] // 2
    ours, _ = gradients(model, *inputs, strategy="reversible")
    store, _ = gradients(model, *inputs, strategy="stored")
    exact, _ = gradients(model, *inputs, strategy="stored", dtype=torch.float64)
    return {
        "gradient_error": gradient_errors(ours, store),
        "gradient_error_float64": {
            "reversible": gradient_errors(ours, exact),
            "store": gradient_errors(store, exact),
        },
    }


# One case


def measure(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build(args.backbone, args.mode, tiles=args.tiles, depths=args.depths)
    baseline = resident_mib()
    frames = torch.randint(0, 256, (args.batch, 3, args.frames, args.size, args.size), dtype=torch.uint8)
    dtype = getattr(torch, args.dtype)
    repeats = min(args.repeats, 1) if args.frames > MANY_FRAMES else args.repeats
    if args.inference:
        model.eval()
    times = []
    for _ in range(repeats + 1):  # the first is the warm-up
        model.zero_grad(set_to_none=True)
        times.append((infer if args.inference else step)(model, frames, dtype))
    counted = times[1:] or times
    result = {
        "backbone": args.backbone,
        "mode": args.mode,
        "tiles": args.tiles,
        "frames": args.frames,
        "size": args.size,
        "batch": args.batch,
        "dtype": args.dtype,
        "depths": args.depths,
        "inference": args.inference,
        "baseline_mib": round(baseline, 1),
        "peak_mib": round(peak_mib(), 1),
        "activation_mib": round(peak_mib() - baseline, 1),
        "parameter_gradients_mib": round(sum(p.grad.nbytes for p in model.parameters() if p.grad is not None) / MIB, 1),
        "forward_s": round(statistics.median(forward for forward, _ in counted), 3),
        "step_s": round(statistics.median(total for _, total in counted), 3),
        "reconstruction_error": reconstruction_error(model, warn_above=math.inf),
    }
    return result | (compare(model, frames) if args.compare else {})


def tile_option(text: str) -> str:
    """`--tiles` as it was given, if it means something."""
    if text not in ("auto", "off") and not (text.replace(".", "", 1).isdigit() and float(text) > 0):
        raise argparse.ArgumentTypeError(f"must be auto, off, or a number of MiB above 0, got {text!r}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=CONFIGS, default="swin_tiny")
    parser.add_argument("--mode", choices=("plain", "checkpoint", "store", "reversible"), default="reversible")
    parser.add_argument(
        "--tiles", type=tile_option, default="auto", help="MiB that a tile may take; auto, or off for whole branches"
    )
    parser.add_argument("--depths", type=int, nargs="+", help="blocks in each stage, if not the backbone's own")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="counted steps after the warm-up; 0 counts the first")
    parser.add_argument("--inference", action="store_true", help="forward passes alone, without gradients")
    parser.add_argument("--compare", action="store_true", help="errors of the gradients, in mode reversible")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    if args.compare and args.mode != "reversible":
        parser.error(f"--compare needs --mode reversible, whose gradients it measures, got --mode {args.mode}")
    if args.compare and args.inference:
        parser.error("--compare compares gradients, and --inference has none; leave one of them out")
    result = measure(args)
    if args.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:<24} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
