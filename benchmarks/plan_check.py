"""What `re2tal plan` says against what training takes: the table of docs/performance.md.

    python benchmarks/plan_check.py [--cases 1 5 9] [--json]

Every figure comes from a process of its own: the plan from `re2tal plan`, the measured one from two steps of the
training loop (`experiment_step.py`), as the process's own largest resident memory. The planner's allowances for what
lies between tensors were set on backbones alone (`train_step.py`) and on the first four cases.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
THUMOS, ANET = "re2tal/e2e_thumos_{}actionformer_{}.py", "re2tal/e2e_anet_{}actionformer_{}.py"
PLAIN = ("backbone.activation_checkpointing=False",)


def steps(number: int) -> tuple[str, str]:
    return f"data.sampling.num_steps={number}", "pyramid.max_steps=512"


CASES: list[tuple[str, tuple[str, ...], int]] = [
    ("demo/re2slowfast.py", (), 4),
    ("demo/slowfast.py", (), 4),
    ("ucf_mini/re2swin.py", (), 2),
    ("ucf_mini/swin.py", (), 2),
    (THUMOS.format("re2tal_", "swin_tiny"), steps(32), 1),
    (THUMOS.format("re2tal_", "swin_tiny"), (*steps(96), "data.crop_size=(160,160)"), 1),
    (THUMOS.format("", "swin_tiny"), steps(32), 1),
    (THUMOS.format("", "swin_tiny"), (*steps(32), *PLAIN), 1),
    (THUMOS.format("re2tal_", "slowfast101"), steps(32), 1),
    (THUMOS.format("", "slowfast101"), steps(32), 1),
    (THUMOS.format("", "slowfast101"), (*steps(32), *PLAIN), 1),
    (ANET.format("re2tal_", "swin_tiny"), ("data.crop_size=(160,160)", *steps(32)), 2),
    (ANET.format("re2tal_", "slowfast101"), ("data.crop_size=(128,128)", *steps(32)), 2),
]
"""Config, settings replaced, clips in the batch."""


def call(*command: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def check(config: str, options: tuple[str, ...], clips: int) -> dict[str, Any]:
    """One case: what was planned, and what was taken."""
    shared = (str(CONFIGS / config), "--json", "--cfg-options", "training.amp=none", *options)
    batch = (f"training.batch_size={clips}", "training.accumulate=1")
    planned = call("-m", "re2tal", "plan", "--quick", *shared, *batch)
    taken = call(str(HERE / "experiment_step.py"), "--clips", str(clips), *shared)
    expected = planned["ways"][planned["way"]]
    return {
        "config": Path(config).stem if config.startswith("re2tal/") else config.removesuffix(".py"),
        "options": list(options),
        "way": planned["way"],
        "clips": clips,
        "frames": taken["frames"],
        "planned_mib": expected["total_mib"],
        "measured_mib": taken["peak_mib"],
        "error": round(expected["total_mib"] / taken["peak_mib"] - 1, 4),
        "error_beyond_libraries": round(
            (expected["total_mib"] - taken["peak_mib"]) / (taken["peak_mib"] - taken["libraries_mib"]), 4
        ),
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| config | way | clips x frames | planned | measured | error | error without libraries |",
        "|---" * 7 + "|",
    ]
    for row in results:
        cells = [row["config"], row["way"], f"{row['clips']} x {row['frames']}"]
        cells += [f"{row[key]:.0f} MiB" for key in ("planned_mib", "measured_mib")]
        cells += [f"{row[key]:+.1%}" for key in ("error", "error_beyond_libraries")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = range(1, len(CASES) + 1)
    parser.add_argument("--cases", type=int, nargs="+", choices=numbers, default=numbers, metavar="N", help="by number")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = [check(*CASES[number - 1]) for number in args.cases]
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
