"""What is trained of a VideoMAE, and what that costs: adapters, a ladder, LoRA, or all of it, plain and rewired.

    python benchmarks/adapters.py [--architectures small base] [--frames 64] [--repeats 2] [--json]
    python benchmarks/adapters.py --architectures small --frames 16 --size 32 --planned-frames 32     # a minute

For every way of training, with random weights, on one clip in float32:

* trained: parameters of the backbone that are trained, of so many.
* measured: memory beyond the built network, and time, of a forward and backward pass of the backbone on `--frames`
  frames, each in a fresh process. The first pass is a warm-up.
* planned: memory of a whole training step (ActionFormer, AdamW and averaged weights with it) on `--planned-frames`
  frames, as `re2tal plan` tells it from a run without values: nothing of that size is run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from train_step import MIB, peak_mib, resident_mib

from re2tal.config import ExperimentConfig
from re2tal.config.adatad import adatad_thumos
from re2tal.experiments.planning import make_plan
from re2tal.networks.adapters import LadderConfig, LowRankConfig, TemporalAdapterConfig
from re2tal.networks.backbones import VideoMaeConfig, build_backbone

TEMPORAL, LORA = TemporalAdapterConfig(), LowRankConfig(rank=8)
WAYS: dict[str, dict[str, Any]] = {
    "adapters": {"adapter": TEMPORAL},
    "adapters, blocks checkpointed": {"adapter": TEMPORAL, "activation_checkpointing": True},
    "adapters, rewired": {"adapter": TEMPORAL, "reversible": True},
    "ladder beside the upper half": {"adapter": LadderConfig()},
    "LoRA": {"adapter": LORA},
    "LoRA, rewired": {"adapter": LORA, "reversible": True},
    "all": {},
    "all, blocks checkpointed": {"activation_checkpointing": True},
    "all, rewired": {"reversible": True},
    "all and adapters, rewired": {"adapter": TEMPORAL, "train_from": 0, "reversible": True},
}


def config_of(way: str, architecture: str, *, frames: int, size: int) -> ExperimentConfig:
    changes: dict[str, Any] = dict(WAYS[way])
    if isinstance(changes.get("adapter"), LadderConfig):
        depth = VideoMaeConfig(architecture=architecture).sizes.depth
        changes["adapter"] = LadderConfig(from_block=depth // 2)
    if "adapter" in changes:
        changes["pretrained"] = Path("never_read.pth")
    backbone = VideoMaeConfig(architecture=architecture, drop_path=0, size=(size, size), **changes)
    config = adatad_thumos(name=way, backbone=backbone, learning_rate=1e-4)
    sampling = config.data.sampling.model_copy(update={"num_steps": frames})
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"sampling": sampling}),
            "pyramid": config.pyramid.model_copy(update={"max_steps": -(-frames // 32) * 32}),
            "training": config.training.model_copy(update={"batch_size": 1, "amp": "none"}),
        }
    )


def measure(way: str, architecture: str, args: argparse.Namespace) -> dict[str, Any]:
    """Of one way, in this process, which must be fresh."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    backbone = build_backbone(config_of(way, architecture, frames=args.frames, size=args.size).backbone).train()
    baseline = resident_mib()
    frames = torch.randint(0, 256, (1, 3, args.frames, args.size, args.size), dtype=torch.uint8)
    times = []
    for _ in range(args.repeats + 1):
        backbone.zero_grad(set_to_none=True)
        start = time.perf_counter()
        backbone(frames, args.frames).square().mean().backward()
        times.append(time.perf_counter() - start)
    trained = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    return {
        "way": way,
        "architecture": architecture,
        "trained": trained,
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "frames": args.frames,
        "measured_mib": round(peak_mib() - baseline, 1),
        "step_s": round(statistics.median(times[1:] or times), 3),
    }


def planned(way: str, architecture: str, args: argparse.Namespace) -> dict[str, Any]:
    config = config_of(way, architecture, frames=args.planned_frames, size=args.size)
    if not config.backbone.runs_dry:
        return {"planned_frames": args.planned_frames, "planned_mib": None, "parts_mib": {}}
    (estimate,) = make_plan(config, device=torch.device("cpu"), quick=True).estimates
    parts = {name: round(size / MIB, 1) for name, size in estimate.parts.items()}
    return {"planned_frames": args.planned_frames, "planned_mib": round(estimate.total / MIB, 1), "parts_mib": parts}


def in_a_fresh_process(way: str, architecture: str, part: str, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", way, "--architectures", architecture, "--part", part]
    for name in ("frames", "planned_frames", "size", "repeats", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way} of {architecture}, {part}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    lines = [
        f"| VideoMAE | what is trained | parameters trained | measured, {first['frames']} frames: memory | time | "
        f"planned, {first['planned_frames']} frames: a whole step | of it activations and tile |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        kept = row["parts_mib"].get("activations", 0) + row["parts_mib"].get("tile", 0)
        of_a_step = (
            f"{row['planned_mib'] / 1024:.1f} GiB | {kept / 1024:.2f} GiB" if row["parts_mib"] else "not planned |"
        )
        share = f"{row['trained'] / 1e6:.1f} M of {row['parameters'] / 1e6:.0f} M"
        lines.append(
            f"| {row['architecture']} | {row['way']} | {share} | {row['measured_mib']:.0f} MiB | "
            f"{row['step_s']:.2f} s | {of_a_step} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="+", choices=("small", "base", "large", "huge", "giant"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--frames", type=int, default=64, help="of the clip that is measured, a multiple of 16")
    parser.add_argument("--planned-frames", type=int, default=768)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="counted passes after the warm-up; 0 counts the first")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=("measure", "planned"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    architectures = args.architectures or ["small", "base"]
    if args.one:
        part = {"measure": measure, "planned": planned}[args.part]
        print(json.dumps(part(args.one, architectures[0], args)))
        return
    rows = [
        in_a_fresh_process(way, architecture, "measure", args) | in_a_fresh_process(way, architecture, "planned", args)
        for architecture in architectures
        for way in args.ways
    ]
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
