"""What the guards of a rewired network cost: their share of a training step.

    python benchmarks/guards.py [--repeats 5] [--json]

Guards compare, at every call and before the backward pass, what a block's code depends on with what it was. The time of
all of their calls is added up inside of whole steps of Video Swin-T (16 frames at 112 x 112) and of ViT-S (one picture
at 224 x 224), float32, batch 1; the median of several steps counts, after two that are not measured. Ends with status 1
if a share is above one hundredth.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.video import swin3d_t

from re2tal.reversible import rewire
from re2tal.reversible.guards import Guard

MOST = 0.01


def swin() -> tuple[nn.Module, Tensor]:
    return rewire(swin3d_t(weights=None)), torch.randn(1, 3, 16, 112, 112)


def vit() -> tuple[nn.Module, Tensor]:
    x = torch.randn(1, 3, 224, 224)
    model = VisionTransformer(
        image_size=224, patch_size=16, num_layers=12, num_heads=6, hidden_dim=384, mlp_dim=1536, num_classes=10
    )
    return rewire(model, example=x), x


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {"Swin-T, 16 x 112 x 112": swin, "ViT-S, 224 x 224": vit}


@contextmanager
def timed(total: list[float]) -> Any:
    """Inside, the seconds in which guards are made, asked and put into words are added up in `total`."""
    names = ("__init__", "holds", "key")
    originals = {name: getattr(Guard, name) for name in names}

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                total[0] += time.perf_counter() - start

        return call

    try:
        for name, original in originals.items():
            setattr(Guard, name, wrapped(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(Guard, name, original)


def measure(name: str, *, repeats: int) -> dict[str, Any]:
    """The median step and the median seconds of guards in it."""
    torch.manual_seed(0)
    model, x = NETWORKS[name]()
    steps, guards = [], []
    for repeat in range(repeats + 2):
        total = [0.0]
        start = time.perf_counter()
        with timed(total):
            model(x).sum().backward()
        if repeat > 1:
            steps.append(time.perf_counter() - start)
            guards.append(total[0])
    step, guard = statistics.median(steps), statistics.median(guards)
    return {"network": name, "step_s": round(step, 4), "guards_s": round(guard, 6), "share": round(guard / step, 5)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="steps that are measured")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each network")
    args = parser.parse_args()
    rows = [measure(name, repeats=args.repeats) for name in NETWORKS]
    if args.json:
        print(*map(json.dumps, rows), sep="\n")
    else:
        print("| network | step | guards | share |\n|---|---|---|---|")
        for row in rows:
            print(f"| {row['network']} | {row['step_s']:.2f} s | {1e3 * row['guards_s']:.2f} ms | {row['share']:.2%} |")
    return int(any(row["share"] > MOST for row in rows))


if __name__ == "__main__":
    sys.exit(main())
