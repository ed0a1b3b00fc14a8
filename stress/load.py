"""Large inputs: how long the commands take and what memory they need, against a tenth of the input.

    python stress/load.py [--cases predict evaluate ...] [--scale 1.0] [--seed 0] [--json]

Every case makes its input at a tenth of the size and in full, and runs the command on each in a fresh process. Two
promises are held:

* time grows no faster than n log n: the full input takes at most 1.5 times what that predicts from the small one
  (processor time, which other programs on the machine change little);
* memory (the largest resident size of the process) grows by no more than is stated for each video, detection or row.
  `predict` gets a bound for all of its videos together: its memory does not depend on how many there are.

There is no footage: the videos are hard links to four files of 16 frames. `start-` is `re2tal train` up to its first
step: on whole videos with a classifier's scores, on windows, and on windows of videos whose frames no annotation
counts, so that those of the test set have to be opened. `predict-again` has nothing left to do. `--scale` multiplies
all sizes. How a page of thousands of videos opens in a browser is measured by benchmarks/report_page.py.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLASSES = [f"class {number:03d}" for number in range(200)]
ACTIONS_PER_VIDEO = 10
DETECTIONS_PER_VIDEO = 200
NUM_FILES, NUM_FRAMES, FPS, SIDE = 4, 16, 8, 16
SLACK = 1.5
"""Times what n log n predicts; the machine does other things too."""

# In a process of its own: a child's largest size counts from that of its parent on, so this one stays small.
ENCODE = """
import sys
from pathlib import Path
import numpy as np
from re2tal.video import write_video
for number in range({files}):
    frames = np.random.default_rng(number).integers(0, 255, ({frames}, {side}, {side}, 3), dtype=np.uint8)
    write_video(Path(sys.argv[1]) / f"{{number}}.mp4", frames, fps={fps})
"""

CONFIG = """
from pathlib import Path
from re2tal.networks.backbones import PathwayConfig, SlowFastConfig
from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, ResizeSampling, WindowSampling
from re2tal.detections import CuhkConfig, PostprocessConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

here = Path(__file__).parent
config = ExperimentConfig(
    name="load",
    work_dir=here / "exps",
    backbone=SlowFastConfig(
        blocks=(2, 2),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
        fusion_kernel=3,
        reversible=True,
        freeze_norms=False,
    ),
    pyramid=PyramidConfig(channels=8, num_heads=2, arch=(1, 1, 1), max_steps=8),
    data=DataConfig(
        annotations=here / "annotations.json",
        videos=here / "videos",
        sampling={sampling},
        class_agnostic={whole},
        short_side_train=16,
        short_side_test=16,
        crop_size=(16, 16),
    ),
    postprocess=PostprocessConfig(video_labels={labels}),
    training=TrainingConfig(epochs=1, batch_size=2, warmup_epochs=0, num_workers=0, log_every=1),
)
"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, and what it may take."""

    name: str
    command: Callable[[Path], list[str]]
    """The arguments of re2tal for an input's folder."""
    until: Callable[[Path], Path] | None = None
    """A file whose appearance ends the measurement; None: the command ends by itself."""
    bytes_each: int | None = None
    """Bound of the growth of memory for each thing counted."""
    bytes_in_all: int = 0
    """Bound of the growth of memory, however many there are; counts if there is none for each."""

    def allowed_mib(self, more: int) -> float:
        """What the memory may grow by for `more` things."""
        return (self.bytes_in_all if self.bytes_each is None else self.bytes_each * more) / 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """A large input, and the commands that run on it one after the other."""

    what: str
    """What is counted."""
    size: int
    make: Callable[[Path, int, random.Random], None]
    """Makes the input in a folder."""
    steps: tuple[Step, ...]


def make_videos(folder: Path, names: Iterator[str]) -> None:
    """Hard links to a few tiny files."""
    sources, videos = folder / "sources", folder / "videos"
    sources.mkdir(parents=True)
    videos.mkdir()
    code = ENCODE.format(files=NUM_FILES, frames=NUM_FRAMES, side=SIDE, fps=FPS)
    subprocess.run([sys.executable, "-c", code, str(sources)], check=True)
    for number, name in enumerate(names):
        os.link(sources / f"{number % NUM_FILES}.mp4", videos / f"{name}.mp4")


def names_of(count: int) -> Iterator[str]:
    return (f"video_{number:06d}" for number in range(count))


def make_annotations(
    path: Path,
    count: int,
    rng: random.Random,
    *,
    seconds: float,
    frames: int | None = None,
    subsets: int = 2,
    classes: int = 200,
) -> None:
    """ActivityNet's layout; of `subsets` 1, all videos are for validation."""
    told = "" if frames is None else f'"frame": {frames}, '
    with path.open("w") as file:
        file.write('{"database": {')
        for number, name in enumerate(names_of(count)):
            subset = "training" if subsets > 1 and number % 3 else "validation"
            rows = []
            for _ in range(ACTIONS_PER_VIDEO):
                start = round(rng.uniform(0, 0.8 * seconds), 3)
                rows.append({"segment": [start, round(start + rng.uniform(0.05, 0.2) * seconds, 3)]})
                rows[-1]["label"] = rng.choice(CLASSES[:classes])
            file.write(f'{", " if number else ""}"{name}": {{"subset": "{subset}", "duration": {seconds}, {told}')
            file.write(f'"annotations": {json.dumps(rows)}}}')
        file.write("}}")


def make_detections(folder: Path, count: int, rng: random.Random) -> None:
    """Ground truth, and `count` detections near to its actions, a few hundred of every video."""
    truth = folder / "annotations.json"
    make_annotations(truth, count // DETECTIONS_PER_VIDEO, rng, seconds=300.0, subsets=1)
    database = json.loads(truth.read_text())["database"]
    with (folder / "detections.json").open("w") as file:
        file.write('{"version": "ActivityNet-1.3", "results": {')
        for number, (name, entry) in enumerate(database.items()):
            rows = []
            for _ in range(DETECTIONS_PER_VIDEO):
                action = rng.choice(entry["annotations"])
                start, end = (max(time + rng.gauss(0, 4), 0.0) for time in action["segment"])
                label = action["label"] if rng.random() < 0.8 else rng.choice(CLASSES)
                rows.append({"segment": sorted((start, end)), "label": label, "score": rng.betavariate(0.5, 3)})
            file.write(f"{', ' if number else ''}{json.dumps(name)}: {json.dumps(rows)}")
        file.write('}, "external_data": {}}')


def make_data_set(
    folder: Path, count: int, rng: random.Random, *, whole: bool, frames: bool = True, classes: int = 200
) -> None:
    """Videos, annotations, config and, for whole videos, a classifier's scores."""
    make_videos(folder, names_of(count))
    seconds = NUM_FRAMES / FPS
    told = NUM_FRAMES if frames else None
    make_annotations(folder / "annotations.json", count, rng, seconds=seconds, frames=told, classes=classes)
    sampling = (
        "ResizeSampling(num_steps=8, frames_per_step=2)" if whole else "WindowSampling(num_steps=8, frame_stride=1)"
    )
    labels = 'CuhkConfig(path=here / "cuhk.json")' if whole else "None"
    (folder / "config.py").write_text(CONFIG.format(sampling=sampling, whole=whole, labels=labels))
    if whole:
        with (folder / "cuhk.json").open("w") as file:
            file.write(f'{{"class": {json.dumps(CLASSES)}, "results": {{')
            for number, name in enumerate(names_of(count)):
                scores = ", ".join(f"{rng.random():.6f}" for _ in CLASSES)
                file.write(f'{", " if number else ""}"{name}": [{scores}]')
            file.write("}}")


def make_predictable(folder: Path, count: int, rng: random.Random) -> None:
    """A folder of videos, and a checkpoint that was trained for a moment."""
    make_data_set(folder / "trained", 12, rng, whole=False, classes=8)
    run(["train", str(folder / "trained/config.py"), "--not-eval"])
    make_videos(folder, names_of(count))


def make_table(folder: Path, count: int, rng: random.Random) -> None:
    """A CSV of `count` rows, a thousand for each video."""
    videos = list(names_of(max(count // 1000, 1)))
    make_videos(folder, iter(videos))
    with (folder / "labels.csv").open("w") as file:
        file.write("video,start,end,label\n")
        for number in range(count):
            start = rng.uniform(0, 0.8 * NUM_FRAMES / FPS)
            end = start + rng.uniform(0.01, 0.3)
            file.write(f"{videos[number % len(videos)]},{start:.5f},{end:.5f},{rng.choice(CLASSES)}\n")


def predict(folder: Path) -> list[str]:
    trained = folder / "trained/exps/gpu1_id0/checkpoint/epoch_0.pth"
    return ["predict", str(folder / "videos"), "--checkpoint", str(trained), "--out", str(folder / "found")]


def on_files(command: str) -> Callable[[Path], list[str]]:
    tious = ",".join(f"{0.5 + 0.05 * step:.2f}" for step in range(10))

    def arguments(folder: Path) -> list[str]:
        truth, found = folder / "annotations.json", folder / "detections.json"
        return [command, "--ground-truth", str(truth), "--predictions", str(found), "--tious", tious]

    return arguments


def report(folder: Path) -> list[str]:
    return ["report", str(folder / "detections.json"), "--ground-truth", str(folder / "annotations.json")]


def start(name: str, **options: Any) -> Case:
    step = Step(
        name=name,
        command=lambda folder: ["train", str(folder / "config.py")],
        until=lambda folder: folder / "exps/gpu1_id0/metrics.jsonl",
        bytes_each=20_000,
    )
    return Case(what="videos", size=20_000, make=partial(make_data_set, **options), steps=(step,))


CASES = (
    start("start-whole", whole=True),
    start("start-windows", whole=False),
    start("start-uncounted", whole=False, frames=False),
    Case(
        what="videos",
        size=20_000,
        make=partial(make_data_set, whole=False),
        steps=(
            Step(
                name="check-data",
                command=lambda folder: ["check-data", str(folder / "config.py"), "--decode", "none"],
                bytes_each=20_000,
            ),
        ),
    ),
    Case(
        what="videos",
        size=10_000,
        make=make_predictable,
        steps=tuple(Step(name=name, command=predict, bytes_in_all=64 * 2**20) for name in ("predict", "predict-again")),
    ),
    Case(
        what="detections",
        size=1_000_000,
        make=make_detections,
        steps=(
            Step(name="evaluate", command=on_files("evaluate"), bytes_each=1000),
            Step(name="diagnose", command=on_files("diagnose"), bytes_each=1500),
            Step(name="report", command=report, bytes_each=1500),
        ),
    ),
    Case(
        what="rows",
        size=1_000_000,
        make=make_table,
        steps=(
            Step(
                name="import",
                command=lambda folder: [
                    *("import", str(folder / "labels.csv"), "--videos", str(folder / "videos")),
                    *("--out", str(folder / "imported.json")),
                ],
                bytes_each=3000,
            ),
        ),
    ),
)


def run(arguments: list[str], *, until: Path | None = None) -> tuple[float, float]:
    """Processor seconds and MiB at most of a fresh process of re2tal; stopped once the file `until` is there."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "re2tal", *arguments], stdout=told, stderr=subprocess.STDOUT, cwd=ROOT
        )
        is_stopped = False
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            if until is not None and not is_stopped and until.is_file():
                process.terminate()
                is_stopped = True
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = usage.ru_utime + usage.ru_stime
        if process.returncode and not is_stopped:
            told.seek(0)
            sys.exit(f"re2tal {' '.join(arguments)}\nended with {process.returncode}:\n{told.read().decode()[-4000:]}")
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(case: Case, count: int, *, steps: Sequence[Step], seed: int) -> list[tuple[float, float]]:
    """Seconds and MiB of each step on an input of one size."""
    with tempfile.TemporaryDirectory(prefix="re2tal-load-") as name:
        folder = Path(name)
        case.make(folder, count, random.Random(seed))
        return [run(step.command(folder), until=step.until and step.until(folder)) for step in steps]


def rows_of(case: Case, *, steps: Sequence[Step], scale: float, seed: int) -> Iterator[dict[str, Any]]:
    """Both sizes, and whether the promises are held."""
    full = max(round(case.size * scale), 1000)
    small = full // 10
    of_small, of_full = (measure(case, count, steps=steps, seed=seed) for count in (small, full))
    for step, (small_seconds, small_mib), (seconds, mib) in zip(steps, of_small, of_full, strict=True):
        allowed_seconds = SLACK * small_seconds * full * math.log(full) / (small * math.log(small))
        allowed_mib = step.allowed_mib(full - small)
        yield {
            "case": step.name,
            "what": case.what,
            "sizes": [small, full],
            "seconds": [round(small_seconds, 1), round(seconds, 1)],
            "allowed_seconds": round(allowed_seconds),
            "mib": [round(small_mib), round(mib)],
            "growth_mib": round(mib - small_mib),
            "allowed_mib": round(allowed_mib),
            "held": seconds <= allowed_seconds and mib - small_mib <= allowed_mib,
        }


def line_of(row: dict[str, Any]) -> str:
    """A line of the table."""
    cells = [
        row["case"],
        "{:,} / {:,} {}".format(*row["sizes"], row["what"]),
        "{} / {}".format(*row["seconds"]),
        row["allowed_seconds"],
        "{} / {}".format(*row["mib"]),
        row["growth_mib"],
        row["allowed_mib"],
        "yes" if row["held"] else "NO",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [step.name for case in CASES for step in case.steps]
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE", help=", ".join(names))
    parser.add_argument("--scale", type=float, default=1.0, help="times the sizes of the inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    options = parser.parse_args()
    wanted = set(options.cases) | ({"predict"} if "predict-again" in options.cases else set())
    rows = []
    if not options.json:
        print("| case | n | CPU seconds | allowed | MiB | growth | allowed | held |\n|---|---|---|---|---|---|---|---|")
    for case in CASES:
        steps = [step for step in case.steps if step.name in wanted]
        for row in rows_of(case, steps=steps, scale=options.scale, seed=options.seed) if steps else ():
            rows.append(row)
            if not options.json:
                print(line_of(row), flush=True)
    if options.json:
        print(json.dumps({"rows": rows, "held": all(row["held"] for row in rows)}))
    sys.exit(0 if all(row["held"] for row in rows) else 1)


if __name__ == "__main__":
    main()
