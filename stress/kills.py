"""Kill a training again and again, resume it by the same command, and compare it with one that was left alone.

    python stress/kills.py [--kills 32] [--seed 0] [--videos 12] [--out FOLDER] [--json]

Trains the demo's network on a few of its videos, with one thread and two, loader processes and none. A run left alone
comes first. Another run of the same command is ended by SIGKILL at a named point (in decoding, in the middle of the
backward pass, half way through a checkpoint ...) or after a random time, now and then by SIGTERM or Ctrl-C, and now and
then its newest checkpoint is cut off, changed or replaced by another file, until it has come through. Then every tensor
and number of its checkpoints, its records and its log are compared. Ends with status 1 if anything differs.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from killing.comparison import differences
from killing.traps import POINTS, Kill, killed_command

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "configs" / "demo" / "re2slowfast.py"
EPOCHS = 3
REDUCED = (
    f"training.epochs={EPOCHS}",
    "training.eval_from=0",
    "training.batch_size=2",
    "training.log_every=4",  # no divisor of the steps of an epoch: windows are cut by its end
    "pyramid.max_steps=32",
    "pyramid.drop_path=0.1",  # so that the random state matters
    "data.sampling.num_steps=32",
    "backbone.reversible=True",  # auto would note in checkpoints what its trial steps took
)


class Runs:
    """Where runs of one command, left alone or killed, leave their folders."""

    def __init__(self, out: Path, *, videos: int, seed: int) -> None:
        from re2tal.data.demo import make_demo_set

        self.out, self.random = out, random.Random(seed)
        make_demo_set(out / "data", seed=seed, num_train=videos, num_test=max(videos // 4, 2))
        self.points = itertools.cycle(self.random.sample(POINTS, len(POINTS)))

    def arguments(self, work_dir: Path, *, workers: int) -> list[str]:
        """The command behind `re2tal`."""
        data = self.out / "data"
        options = [f"work_dir={work_dir}", f"training.num_workers={workers}"]
        options += [f"data.annotations={data / 'annotations.json'}", f"data.videos={data / 'videos'}"]
        # How often states are saved must not matter: after every step, or rarely.
        options.append(f"training.checkpoint_minutes={self.random.choice((0, 0, 0.02))}")
        return ["train", str(CONFIG), "--resume", "auto", "--cfg-options", *REDUCED, *options]

    def alone(self, *, threads: int, workers: int) -> Path:
        """The folder of a run that nobody kills."""
        work_dir = self.out / f"alone_{threads}_{workers}"
        done = start(self.arguments(work_dir, workers=workers), threads=threads)
        if done.returncode:
            raise RuntimeError(f"a run left alone failed:\n{done.stderr[-3000:]}")
        return work_dir / "gpu1_id0"

    def draw(self) -> Kill:
        point = next(self.points)
        if point == "time":
            ways = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
            return Kill(point, self.random.randint(1, 400), self.random.choice(ways))
        most = {"restoring": 1, "evaluation": 2, "saving": 4, "renaming": 6, "syncing": 9}.get(point, 6)
        return Kill(point, self.random.randint(1, most))

    def killed(self, name: str, *, threads: int, workers: int, kills: Sequence[Kill] = ()) -> dict[str, Any]:
        """Kill and resume until a run has come through; its folder, what happened, and what went wrong.

        Args:
            name: of the folder.
            threads: of every process.
            workers: loader processes.
            kills: the first ones; drawn when they are used up, unless there are some.
        """
        folder = self.out / name / "gpu1_id0"
        planned = iter(kills)
        happened: list[Kill] = []
        damaged: list[str] = []
        wrong: list[str] = []
        while True:
            kill = next(planned, None) if kills else self.draw()
            arguments = self.arguments(self.out / name, workers=workers)
            done = start(arguments, threads=threads, kills=[] if kill is None else [kill])
            if done.returncode == 0:
                break
            assert kill is not None, done.stderr
            if done.returncode not in expected_statuses(kill):
                wrong.append(f"status {done.returncode} of {kill}: {done.stderr[-1000:]}")
                break
            happened.append(kill)
            if not kills and self.random.random() < 0.25 and (name_of := self._damage(folder)):
                damaged.append(name_of)
        log = (folder / "log.txt").read_text(encoding="utf-8")
        wrong += [f"{path} was damaged and not named" for path in set(damaged) if f"passed over: {path}" not in log]
        return {"folder": folder, "kills": happened, "damaged": len(damaged), "wrong": wrong}

    def _damage(self, folder: Path) -> str | None:
        """Spoil the newest checkpoint if another one is left."""
        whole = [path for path in (folder / "checkpoint").glob("*.pth") if path.name != "best.pth"]
        if len(whole) < 2:
            return None
        newest = max(whole, key=lambda path: path.stat().st_mtime)
        content = bytearray(newest.read_bytes())
        match self.random.choice(("cut", "change", "replace")):
            case "cut":
                content = content[: self.random.randrange(len(content))]
            case "change":  # in the values of a tensor
                content[len(content) // 2] ^= 1 << self.random.randrange(8)
            case _:
                content = bytearray(b"<html>not found</html>")
        newest.write_bytes(content)
        return str(newest)


def expected_statuses(kill: Kill) -> tuple[int, ...]:
    """How a process ends that is killed so; the negative ones before or after the training itself."""
    return (-kill.signal,) if kill.signal == signal.SIGKILL else (128 + kill.signal, -kill.signal)


def start(
    arguments: Sequence[str], *, threads: int, kills: Sequence[Kill] = (), launcher: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, whichever that is.

    Args:
        arguments: behind `re2tal`.
        threads: of every process.
        kills: what will happen to it.
        launcher: stands before the program, such as torchrun.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), environment.get("PYTHONPATH", "")])
    command = [*(launcher or [sys.executable]), *killed_command(kills, arguments)]
    # A process that does not end is a broken promise, too.
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1200)


@contextmanager
def workplace(out: Path | None) -> Iterator[Path]:
    """A folder for the runs: `out`, emptied, or one that is removed afterwards."""
    if out is not None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        yield out.resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def measure(out: Path, *, kills: int, videos: int, seed: int) -> list[dict[str, Any]]:
    """A row for every killed run, over all ways to compute in turn, until there were enough kills."""
    runs = Runs(out, videos=videos, seed=seed)
    alone: dict[tuple[int, int], Path] = {}
    rows: list[dict[str, Any]] = []
    for number, way in enumerate(itertools.cycle(((1, 0), (2, 2), (1, 2), (2, 0)))):
        if sum(row["kills"] for row in rows) >= kills and len(alone) == 4:
            return rows
        threads, workers = way
        if way not in alone:
            alone[way] = runs.alone(threads=threads, workers=workers)
        result = runs.killed(f"killed_{number}", threads=threads, workers=workers)
        wrong = result["wrong"] or differences(alone[way], result["folder"])
        points = [kill.point if kill.signal == signal.SIGKILL else kill.signal.name for kill in result["kills"]]
        rows.append({"threads": threads, "workers": workers, "kills": len(points), "damaged": result["damaged"]})
        rows[-1] |= {"points": points, "differences": wrong}
        print(f"run {number}: {rows[-1]}", file=sys.stderr, flush=True)
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=32, help="at least as many in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=12, help="of the training set")
    parser.add_argument("--out", type=Path, help="keep the runs in this folder")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    with workplace(args.out) as out:
        rows = measure(out, kills=args.kills, videos=args.videos, seed=args.seed)
    if args.json:
        print(json.dumps({"kills": sum(row["kills"] for row in rows), "runs": rows}))
    else:
        print("| threads | loader processes | kills | damaged files | differences |\n|---|---|---|---|---|")
        for row in rows:
            cells = (row["threads"], row["workers"], row["kills"], row["damaged"], len(row["differences"]))
            print(f"| {' | '.join(map(str, cells))} |")
        points = sorted(point for row in rows for point in row["points"])
        print(f"{len(points)} kills: " + ", ".join(f"{points.count(point)} {point}" for point in dict.fromkeys(points)))
    if any(row["differences"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
