"""Memory and time of one training step of a backbone, in a fresh process.

    python benchmarks/train_step.py --backbone swin_tiny --mode reversible --frames 64 [--size 224] [--batch 1] [--json]

Modes: `plain` is the original network under ordinary autograd; with `checkpoint` every block of it is computed again,
with `selective` all but its products, convolutions and attention; with `offload` what autograd keeps is copied to the
host's memory; with `compile` it is compiled, and `--share` of its activations are kept. `store` is the rewired network
under ordinary autograd, `reversible` without stored activations, `auto` with the fastest `--share` of them stored.
Everything a training loop would hold counts as activation: input, streams, saved tensors, parameters' gradients.
`--compare` adds the errors of the reversible gradients, `--error` that of any mode's in float64 on a small clip.
`--inference` runs forward passes without gradients instead.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from re2tal.config.presets import demo_slowfast, demo_swin
from re2tal.experiments.device_check.measuring import (
    NETWORKS,
    build_with,
    gradient_errors,
    gradients,
    run_step,
    saving_elsewhere,
)
from re2tal.experiments.device_check.sizes import StepStrategy
from re2tal.networks.backbones import Backbone, BackboneConfig, FactoryConfig
from re2tal.reversible import reconstruction_error, set_tiles, spend_memory

VIT = FactoryConfig(factory="timm:vit_small_patch16_224", takes="BCHW", clip_frames=1, out_channels=384)
CONFIGS: dict[str, BackboneConfig] = {
    "swin_tiny": NETWORKS["Swin-T"],
    "slowfast101": NETWORKS["SlowFast-101"],
    "vit_small": VIT.model_copy(update={"options": {"num_classes": 0}}),
    "demo_slowfast": demo_slowfast(reversible=False),
    "demo_swin": demo_swin(reversible=False),
}
STRATEGIES: dict[str, StepStrategy] = {
    "plain": "plain",
    "checkpoint": "checkpointed",
    "selective": "selective",
    "offload": "offloaded",
    "compile": "plain",
    "store": "stored",
    "reversible": "reversible",
    "auto": "reversible",
}
REWIRED = ("store", "reversible", "auto")
WITH_SHARE = ("compile", "auto")
MIB = 2**20
MANY_FRAMES = 256
"""A longer clip is stepped through once after the warm-up."""
TRIED = 2**19
"""Pixels of all frames of the clips that `auto` tries; clips of this many are tried as they are."""
OF_ERRORS = (8, 64)
"""Frames and size of the clip that gradients are compared on in float64."""


def peak_mib() -> float:
    """The process's own largest resident memory so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / MIB


def resident_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def build(backbone: str, mode: str, *, tiles: str = "auto", depths: list[int] | None = None) -> Backbone:
    """The network as a mode trains it; what is yet to be done before the first step is in `prepare`."""
    config = CONFIGS[backbone]
    if depths:
        config = config.model_copy(update={"depths" if "swin" in backbone else "blocks": tuple(depths)})
    model = build_with(config, STRATEGIES[mode])
    if mode in REWIRED and tiles != "auto":
        set_tiles(model, None if tiles == "off" else round(float(tiles) * MIB))
    return model


def compiled(model: Backbone, share: float) -> Backbone:
    """Of the activations, such a share is kept."""
    import torch._functorch.config as functorch

    functorch.activation_memory_budget = share  # type: ignore[attr-defined]
    model.network = torch.compile(model.network)
    return model


def spend(model: Backbone, frames: Tensor, share: float) -> dict[str, Any]:
    """Have the network store a share of its activations, found on a clip that is short."""
    batch, _, count, height, width = frames.shape
    short = count if batch * count * height * width <= TRIED else min(count, 8)
    tried = frames[:1, :, :short]

    def loss() -> Tensor:
        features: Tensor = model(tried, short)
        return features.square().mean()

    scale = batch * count / short
    most = spend_memory(model, loss, budget=0, scale=scale).most_bytes
    found = spend_memory(model, loss, budget=math.ceil(share * most), scale=scale)
    return {
        "stored_mib": round(found.stored_bytes / MIB, 1),
        "most_stored_mib": round(most / MIB, 1),
        "tried_s": [round(seconds, 3) for seconds in found.seconds],
    }


def step(model: Backbone, frames: Tensor, dtype: torch.dtype, mode: str = "plain") -> tuple[float, float]:
    """One forward and backward pass; seconds of the forward pass and of both."""
    start = time.perf_counter()
    with saving_elsewhere(STRATEGIES[mode], device=frames.device):
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


def error_in_float64(args: argparse.Namespace) -> dict[str, Any]:
    """Of a mode's gradients against plain autograd through whole branches of the same network."""
    frames, size = OF_ERRORS
    size = args.size if args.backbone == "vit_small" else min(size, args.size)
    clip = torch.randint(0, 256, (1, 3, min(frames, args.frames), size, size), dtype=torch.uint8)
    found = []
    for mode, tiles in ((args.mode, args.tiles), ("store" if args.mode in REWIRED else "plain", "off")):
        torch.manual_seed(0)
        model = build(args.backbone, mode, tiles=tiles, depths=args.depths).double()
        prepare(model, mode, clip, args.share)
        step(model, clip, torch.float64, mode)
        found.append({own_name(name): p.grad for name, p in model.named_parameters() if p.grad is not None})
    return {"mode": args.mode, "tiles": args.tiles, "share": args.share, "float64": gradient_errors(*found)}


def own_name(name: str) -> str:
    """A parameter's, without those of what wraps its module."""
    return name.replace("_orig_mod.", "").replace("_checkpoint_wrapped_module.", "")


# One case


def prepare(model: Backbone, mode: str, frames: Tensor, share: float) -> dict[str, Any]:
    """What a mode does once, before the first step; returns what it tells."""
    if mode == "compile":
        compiled(model, share)
    return spend(model, frames, share) if mode == "auto" else {}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.error:
        return error_in_float64(args)
    model = build(args.backbone, args.mode, tiles=args.tiles, depths=args.depths)
    baseline = resident_mib()
    frames = torch.randint(0, 256, (args.batch, 3, args.frames, args.size, args.size), dtype=torch.uint8)
    dtype = getattr(torch, args.dtype)
    repeats = min(args.repeats, 1) if args.frames > MANY_FRAMES else args.repeats
    told = {} if args.inference else prepare(model, args.mode, frames, args.share)
    one_step: Callable[..., tuple[float, float]] = partial(step, mode=args.mode)
    if args.inference:
        model.eval()
        one_step = infer
    times, processor = [], []
    for _ in range(repeats + 1):  # the first is the warm-up
        model.zero_grad(set_to_none=True)
        start = time.process_time()
        times.append(one_step(model, frames, dtype))
        processor.append(time.process_time() - start)
    counted, processor = times[1:] or times, processor[1:] or processor
    result = {
        "backbone": args.backbone,
        "mode": args.mode,
        "tiles": args.tiles,
        "share": args.share if args.mode in WITH_SHARE else None,
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
        "processor_s": round(statistics.median(processor), 3),
        "reconstruction_error": reconstruction_error(model, warn_above=math.inf),
    } | told
    return result | (compare(model, frames) if args.compare else {})


def tile_option(text: str) -> str:
    """`--tiles` as it was given, if it means something."""
    if text not in ("auto", "off") and not (text.replace(".", "", 1).isdigit() and float(text) > 0):
        raise argparse.ArgumentTypeError(f"must be auto, off, or a number of MiB above 0, got {text!r}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=CONFIGS, default="swin_tiny")
    parser.add_argument("--mode", choices=STRATEGIES, default="reversible")
    parser.add_argument(
        "--tiles", type=tile_option, default="auto", help="MiB that a tile may take; auto, or off for whole branches"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the activations that auto and compile may keep")
    parser.add_argument("--depths", type=int, nargs="+", help="blocks in each stage, if not the backbone's own")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="counted steps after the warm-up; 0 counts the first")
    parser.add_argument("--inference", action="store_true", help="forward passes alone, without gradients")
    parser.add_argument("--compare", action="store_true", help="errors of the gradients, in mode reversible")
    parser.add_argument("--error", action="store_true", help="the mode's error in float64 on a small clip, alone")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    if args.compare and args.mode != "reversible":
        parser.error(f"--compare needs --mode reversible, whose gradients it measures, got --mode {args.mode}")
    if args.compare and args.inference:
        parser.error("--compare compares gradients, and --inference has none; leave one of them out")
    try:
        result = measure(args)
    except ValueError as error:
        parser.error(str(error))
    if args.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:<24} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
