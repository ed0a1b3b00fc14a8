"""Kill one of two processes under torchrun, which starts both again, and compare the end with a run left alone.

    python stress/restarts.py [--runs 3] [--restarts 4] [--seed 0] [--videos 12] [--out FOLDER] [--json]

Both processes run `re2tal train CONFIG --resume auto` on the demo's network under `torchrun --max-restarts`. In each of
the first starts one of them, at random, is killed at a random point (see stress/killing/traps.py). Then a process that
fails with an error of its own is watched: the error has to be told once, with the process's number, and the other one
must not go on waiting. Last, torchrun gets a SIGTERM: what both had done has to be saved, and the resumed run has to
end like the others. Ends with status 1 if anything is not so.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from killing.comparison import differences
from killing.traps import POINTS, Kill
from kills import Runs, start, workplace

OF_BOTH = ("decoding", "forward", "backward", "optimizer", "evaluation", "time")
"""Points that every process passes; the others are of the main one, which writes the files."""
PATIENCE_SECONDS = 60
"""What a process may take to stop after another one has failed: torchrun gives it half of that."""


def torchrun(restarts: int) -> list[str]:
    """The launcher, for two processes of this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    return [*launcher, "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", f"--max-restarts={restarts}"]


def draw(source: random.Random) -> Kill:
    """A kill of either process."""
    rank = source.randrange(2)
    point = source.choice(OF_BOTH if rank else POINTS)
    if point == "time":
        return Kill(point, source.randint(1, 300), rank=rank)
    return Kill(point, source.randint(1, {"restoring": 1, "evaluation": 2}.get(point, 4)), rank=rank)


class Launches:
    """Runs of two processes each, and the one that was left alone."""

    def __init__(self, out: Path, *, videos: int, seed: int) -> None:
        self.runs, self.out, self.random = Runs(out, videos=videos, seed=seed), out, random.Random(seed)
        self.alone = self.folder("alone")
        done = self.launch("alone")
        if done.returncode:
            raise RuntimeError(f"a run left alone failed:\n{done.stderr[-3000:]}")

    def folder(self, name: str) -> Path:
        return self.out / name / "gpu2_id0"

    def launch(self, name: str, *, kills: Sequence[Kill] = ()) -> subprocess.CompletedProcess[str]:
        arguments = self.runs.arguments(self.out / name, workers=0)
        return start(arguments, threads=1, kills=kills, launcher=torchrun(len(kills)))

    def restarted(self, name: str, *, kills: Sequence[Kill]) -> dict[str, Any]:
        """One of two is killed at every start but the last."""
        done = self.launch(name, kills=kills)
        wrong = [] if done.returncode == 0 else [f"status {done.returncode}: {done.stderr[-2000:]}"]
        starts = (self.folder(name) / "log.txt").read_text(encoding="utf-8").count(" training videos, ")
        points = [f"{kill.point} of {kill.rank}" for kill in kills[: starts - 1]]
        return {"what": "killed", "kills": points, "wrong": wrong or differences(self.alone, self.folder(name))}

    def failed(self, name: str, *, rank: int) -> dict[str, Any]:
        """A process raises an error in its third step."""
        arguments = self.runs.arguments(self.out / name, workers=0)
        begun = time.monotonic()
        kill = Kill("forward", 3, signal=0, rank=rank)
        done = start(arguments, threads=1, kills=[kill], launcher=torchrun(0))
        seconds = time.monotonic() - begun
        log = (self.folder(name) / "log.txt").read_text(encoding="utf-8")
        told = ("RuntimeError: made to fail", f"(in process {rank} of 2, counted from 0)")
        expected = {
            "the status is not 0": done.returncode != 0,
            "the error is told once": [done.stderr.count(part) for part in told] == [1, 1],
            "the log has the error": "made to fail" in log,
            "nobody goes on waiting": seconds - _seconds_until(log, "stopped", begun=begun) < PATIENCE_SECONDS,
        }
        wrong = [what for what, holds in expected.items() if not holds]
        return {"what": f"process {rank} fails", "kills": [], "wrong": [*wrong, done.stderr] if wrong else []}

    def stopped(self, name: str) -> dict[str, Any]:
        """torchrun gets a SIGTERM while both train."""
        arguments = self.runs.arguments(self.out / name, workers=0)
        log = self.folder(name) / "log.txt"

        def is_training() -> bool:
            return log.is_file() and " step " in log.read_text(encoding="utf-8")

        status, told = stop(arguments, when=is_training)
        wrong = [] if status else ["torchrun ended with status 0"]
        if "stopped by SIGTERM after step" not in log.read_text(encoding="utf-8"):
            wrong.append(f"the log does not say that the run was stopped: {told[-2000:]}")
        if self.launch(name).returncode:
            wrong.append("it was not resumed")
        return {"what": "SIGTERM", "kills": [], "wrong": wrong or differences(self.alone, self.folder(name))}


def _seconds_until(log: str, what: str, *, begun: float) -> float:
    """From `begun`, by the monotonic clock, to the last line of `log` that has `what` in it."""
    line = next(line for line in reversed(log.splitlines()) if what in line)
    moment = time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S"))
    return moment - (time.time() - (time.monotonic() - begun))


def stop(arguments: Sequence[str], *, when: Callable[[], bool]) -> tuple[int, str]:
    """Launch, and send a SIGTERM as soon as `when` says so; status and error stream."""
    repository = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": repository}
    command = [*torchrun(0), str(Path(repository, "tools", "train.py")), *arguments[1:]]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as launched:
        while not when() and launched.poll() is None:
            time.sleep(0.1)
        launched.send_signal(signal.SIGTERM)
        told = launched.communicate()[1]
        return launched.returncode, told


def measure(out: Path, *, runs: int, restarts: int, videos: int, seed: int) -> list[dict[str, Any]]:
    """A row for every launch."""
    launches = Launches(out, videos=videos, seed=seed)
    rows = []
    for number in range(runs):
        kills = [draw(launches.random) for _ in range(restarts)]
        rows.append(launches.restarted(f"killed_{number}", kills=kills))
        print(rows[-1], file=sys.stderr, flush=True)
    for rank in range(2):
        rows.append(launches.failed(f"failed_{rank}", rank=rank))
        print(rows[-1], file=sys.stderr, flush=True)
    rows.append(launches.stopped("stopped"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="that are killed again and again")
    parser.add_argument("--restarts", type=int, default=4, help="kills of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=12, help="of the training set")
    parser.add_argument("--out", type=Path, help="keep the runs in this folder")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    with workplace(args.out) as out:
        rows = measure(out, runs=args.runs, restarts=args.restarts, videos=args.videos, seed=args.seed)
    if args.json:
        print(json.dumps(rows))
    else:
        print("| run | kills | not as it should be |\n|---|---|---|")
        for row in rows:
            print(f"| {row['what']} | {', '.join(row['kills']) or '-'} | {len(row['wrong'])} |")
    if any(row["wrong"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
