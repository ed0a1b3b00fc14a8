"""How soon a command answers, and how soon training takes its first step: figures of docs/performance.md.

    python benchmarks/start_up.py [--repeats 9] [--json]

`re2tal --help`, `re2tal train --help` and `re2tal --version` in fresh processes; then `tools/train.py` on the demo's
config with videos that are there, from the command to the end of its first step. Medians; seconds of wall clock and of
the processor.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from re2tal.data.demo import make_demo_set

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = (["--help"], ["train", "--help"], ["--version"])


def answered(arguments: list[str]) -> tuple[float, float]:
    """(wall clock, processor) seconds of a command."""
    command = [sys.executable, "-m", "re2tal", *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def first_step(folder: Path) -> tuple[float, float]:
    """(wall clock, processor) seconds from the command until the first step of training is told."""
    options = [f"data.annotations={folder / 'annotations.json'}", f"data.videos={folder / 'videos'}"]
    options += [f"work_dir={folder / 'run'}", "training.log_every=1"]
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py"), str(REPOSITORY / "configs/demo/re2slowfast.py")]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--cfg-options", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if "step 1/" in line:
            break
    else:
        raise SystemExit(f"training ended before its first step:\n{''.join(told[-20:])}")
    seconds = time.perf_counter() - start
    process.kill()
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = -9
    return seconds, usage.ru_utime + usage.ru_stime


def median(pairs: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "seconds": statistics.median(pair[0] for pair in pairs),
        "cpu_seconds": statistics.median(pair[1] for pair in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=9, help="calls of each command; training starts a third as often"
    )
    parser.add_argument("--videos", type=int, default=24, help="that are trained on")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for arguments in COMMANDS:
        answered(arguments)  # files get into the system's cache
        name = " ".join(["re2tal", *arguments])
        rows.append({"command": name, **median([answered(arguments) for _ in range(args.repeats)])})
    with tempfile.TemporaryDirectory() as folder:
        make_demo_set(Path(folder), num_train=args.videos, num_test=4)
        starts = [first_step(Path(folder)) for _ in range(max(args.repeats // 3, 1))]
    rows.append({"command": "tools/train.py of the demo, first step", **median(starts)})
    if args.json:
        print(json.dumps(rows))
        return
    print("| command | s | processor s |\n|---|---|---|")
    for row in rows:
        print(f"| {row['command']} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} |")


if __name__ == "__main__":
    main()
