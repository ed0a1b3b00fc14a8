"""Memory and time of one training step of a backbone, in a fresh process.

    python benchmarks/train_step.py --backbone swin_tiny --mode reversible --frames 64 [--size 224] [--batch 1] [--json]

Modes: `plain` is the original network under ordinary autograd, `checkpoint` the same with activation checkpointing of
every block, `store` the rewired one under ordinary autograd, `reversible` the rewired one without stored activations.
Everything a training loop would hold counts as activation: input, streams, saved tensors, parameters' gradients.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from re2tal.backbones import Backbone, BackboneConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.reversible import set_mode

CONFIGS: dict[str, BackboneConfig] = {"swin_tiny": SwinConfig(drop_path=0.0), "slowfast101": SlowFastConfig()}
MIB = 2**20


def peak_mib() -> float:
    """The process's own largest resident memory so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / MIB


def resident_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def build(backbone: str, mode: str) -> Backbone:
    is_rewired = mode in ("store", "reversible")
    changes = {"reversible": is_rewired, "activation_checkpointing": mode == "checkpoint"}
    model = build_backbone(CONFIGS[backbone].model_copy(update=changes)).train()
    if is_rewired:
        set_mode(model, "store" if mode == "store" else "reversible")
    return model


def step(model: Backbone, frames: torch.Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """One forward and backward pass; seconds of the forward pass and of both."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        features = model(frames, frames.shape[2] // 2)
    forward_s = time.perf_counter() - start
    features.square().mean().backward()
    return forward_s, time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict[str, float | str | int | None]:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build(args.backbone, args.mode)
    baseline = resident_mib()
    frames = torch.randint(0, 256, (args.batch, 3, args.frames, args.size, args.size), dtype=torch.uint8)
    dtype = getattr(torch, args.dtype)
    times = []
    for _ in range(args.repeats + 1):  # the first is the warm-up
        model.zero_grad(set_to_none=True)
        times.append(step(model, frames, dtype))
    counted = times[1:] or times
    return {
        "backbone": args.backbone,
        "mode": args.mode,
        "frames": args.frames,
        "size": args.size,
        "batch": args.batch,
        "dtype": args.dtype,
        "baseline_mib": round(baseline, 1),
        "peak_mib": round(peak_mib(), 1),
        "activation_mib": round(peak_mib() - baseline, 1),
        "forward_s": round(statistics.median(forward for forward, _ in counted), 3),
        "step_s": round(statistics.median(total for _, total in counted), 3),
        "reconstruction_error": model.reconstruction_error(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=CONFIGS, default="swin_tiny")
    parser.add_argument("--mode", choices=("plain", "checkpoint", "store", "reversible"), default="reversible")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="counted steps after the warm-up; 0 counts the first")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:<22} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
