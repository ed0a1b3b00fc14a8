"""How many features of two overlapping windows are the same, in backbones that see a window as a whole.

    python benchmarks/window_features.py [--configs CONFIG ...] [--overlap 0.5] [--tolerance 1e-5] [--crop 32] [--json]

Two windows of a video of noise, of the config's own length and placed as testing places them, go through its backbone
with random weights, in float64. *same* counts the steps that both show whose features differ by less than a tolerance;
*reach* is how many frames lie between an end of a window and the first step that does not feel it. From that follows
what sharing could save at best: a window whose middle is known must still compute what comes new and what feels its
two ends, each with a reach of frames around it. *to compute* is that share of a window's frames; with 1 or more there
is nothing to gain.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from re2tal.config import ExperimentConfig, load_config
from re2tal.data import WindowSampling
from re2tal.networks.backbones import build_backbone
from re2tal.training import seed_all

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = (
    "configs/ucf_mini/swin.py",
    "configs/ucf_mini/slowfast.py",
    "configs/re2tal/e2e_thumos_actionformer_swin_tiny.py",
    "configs/re2tal/e2e_thumos_actionformer_slowfast101.py",
)


def agreement(first: Tensor, second: Tensor, *, shift: int, tolerance: float = 1e-5) -> list[bool]:
    """Whether the steps that two windows share have the same features.

    Args:
        first, second: (C, S).
        shift: steps from the beginning of the first to that of the second.
        tolerance: how far they may lie apart, as a share of the largest feature.

    Returns:
        S - `shift` values, in order of time.
    """
    difference = (first[:, shift:] - second[:, : first.shape[1] - shift]).abs().amax(0)
    return (difference <= tolerance * first.abs().max()).tolist()


def run_of_same(same: list[bool]) -> tuple[int, int]:
    """The longest run of agreeing steps: its first, and one past its last; (0, 0) if there is none."""
    best, start = (0, 0), 0
    for place, agrees in enumerate([*same, False]):
        if not agrees:
            best = max(best, (start, place), key=lambda run: run[1] - run[0])
            start = place + 1
    return best


def to_compute(*, window: int, shift: int, reach: int) -> float:
    """Share of a window's frames that go through the network if its middle is known; see the program's text."""
    return (shift + 4 * reach) / window


def measure(config: ExperimentConfig, *, overlap: float, crop: int | None, tolerance: float) -> dict[str, Any]:
    """A row of the table."""
    sampling = config.data.sampling
    assert isinstance(sampling, WindowSampling), "whole videos do not overlap"
    shift = max(int(sampling.num_steps * (1 - overlap)), 1)
    per_step, steps = sampling.frames_per_step, sampling.num_steps
    size = config.data.crop_size if crop is None else (crop, crop)
    seed_all(0)
    backbone = build_backbone(config.backbone).eval().double()
    video = torch.randint(0, 256, (1, 3, (steps + shift) * per_step, *size), dtype=torch.uint8)
    with torch.no_grad():
        first = backbone(video[:, :, : steps * per_step], steps)[0]
        second = backbone(video[:, :, shift * per_step :], steps)[0]
    same = agreement(first, second, shift=shift, tolerance=tolerance)
    start, end = run_of_same(same)
    reach = max(start, len(same) - end) * per_step if end else None
    return {
        "config": config.name,
        "window_frames": steps * per_step,
        "crop": list(size),
        "shared_steps": len(same),
        "same": sum(same),
        "reach_frames": reach,
        "to_compute": None
        if reach is None
        else round(to_compute(window=steps * per_step, shift=shift * per_step, reach=reach), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=Path, nargs="+", default=[REPOSITORY / name for name in CONFIGS])
    parser.add_argument("--cfg-options", nargs="+", default=[], help="key=value, of every config")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of the largest feature")
    parser.add_argument("--crop", type=int, default=32, help="height and width; 0: the config's own")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    arguments = parser.parse_args()
    rows = [
        measure(
            load_config(path, arguments.cfg_options),
            overlap=arguments.overlap,
            crop=arguments.crop or None,
            tolerance=arguments.tolerance,
        )
        for path in arguments.configs
    ]
    if arguments.json:
        print(json.dumps({"overlap": arguments.overlap, "tolerance": arguments.tolerance, "rows": rows}))
        return
    print("| network | frames of a window | shared steps | same | reach, frames | to compute |\n|" + "---|" * 6)
    for row in rows:
        columns = ("config", "window_frames", "shared_steps", "same", "reach_frames", "to_compute")
        print("| " + " | ".join("-" if row[name] is None else str(row[name]) for name in columns) + " |")


if __name__ == "__main__":
    main()
