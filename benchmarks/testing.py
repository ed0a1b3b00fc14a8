"""What a test pass costs: reading windows that overlap, and computing their features.

    python benchmarks/testing.py [--data ucf_mini] [--overlaps 0.5 0.75] [--workers 0 2] [--parts reading] [--json]

*reading* makes the clips of all test videos one by one, each opening its file, as the loader of a map-style data set
does; then in runs of neighbouring windows, as testing does. Frames are counted where they leave the decoder.
*features* runs the detector on clips that are made already, with every window's features computed anew and with those
of overlapping windows taken from the one before; the network has random weights. Time is processor time, of loader
processes as well; `--data demo` renders the demo's videos.
"""

import argparse
import json
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from re2tal.common.types import Batch
from re2tal.config import ExperimentConfig, load_config, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.data import TestingSet, collate
from re2tal.data.demo import make_demo_set
from re2tal.experiments.loading import load_tests
from re2tal.inference import ClipDetector
from re2tal.training import Processes, seed_all
from re2tal.video import reader

REPOSITORY = Path(__file__).resolve().parents[1]
ALONE = Processes()


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@dataclass(frozen=True)
class Pass:
    """What one pass over the clips took."""

    cpu_s: float
    decoded: int
    """Frames that left the decoder."""
    twice: int
    """How many of them had left it before."""
    opened: int
    """Times that a file was opened for decoding."""


@contextmanager
def counting(note: Path) -> Iterator[None]:
    """Note every decoded frame, in loader processes as well, in the lines of a file."""
    real_decode, real_open = reader.decode_packets, reader.open_container

    def decode(*args: Any, path: Path, **kwargs: Any) -> Any:
        with note.open("a") as file:
            for frame in real_decode(*args, path=path, **kwargs):
                file.write(f"{path.stem} {frame.pts}\n")
                yield frame

    def opened(path: Path, **kwargs: Any) -> Any:
        with note.open("a") as file:
            file.write(f"open {path.stem}\n")
        return real_open(path, **kwargs)

    vars(reader).update(decode_packets=decode, open_container=opened)
    try:
        yield
    finally:
        vars(reader).update(decode_packets=real_decode, open_container=real_open)


def least_seconds(*ways: Callable[[], object], repeats: int) -> list[float]:
    """The least processor time of each, which take turns: a busy machine makes everything slower, for a while."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, taken in zip(ways, seconds, strict=True):
            before = cpu_seconds()
            way()
            taken.append(cpu_seconds() - before)
    return [round(min(taken), 2) for taken in seconds]


def counted(read: Callable[[], None], *, cpu_s: float) -> Pass:
    """One more pass of `read`, of which frames are counted."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "decoded.txt"
        note.touch()
        with counting(note):
            read()
        lines = note.read_text().splitlines()
    frames = Counter(line for line in lines if not line.startswith("open "))
    total = sum(frames.values())
    return Pass(cpu_s, total, total - len(frames), len(lines) - total)


def read_one_by_one(config: ExperimentConfig) -> None:
    """Every clip by itself, as the loader of a map-style data set gives them."""
    training = config.training
    loader = DataLoader(
        TestingSet(config.data),
        batch_size=training.batch_size,
        num_workers=training.num_workers,
        collate_fn=collate,
    )
    for _ in loader:
        pass


def read_in_runs(config: ExperimentConfig) -> None:
    """The clips as testing loads them."""
    loader = load_tests(TestingSet(config.data), config, processes=ALONE)
    for _ in loader:
        pass
    del loader  # its processes end, and their time counts


def reading(config: ExperimentConfig, *, overlap: float, workers: list[int], repeats: int) -> list[dict[str, Any]]:
    """Two rows for each number of loader processes: clips made one by one, and in runs."""
    config = override(config, [f"data.sampling.test_overlap={overlap}", "data.cache_mib=0"])
    rows: list[dict[str, Any]] = []
    for count in workers:
        chosen = override(config, [f"training.num_workers={count}"])
        ways = partial(read_one_by_one, chosen), partial(read_in_runs, chosen)
        seconds = least_seconds(*ways, repeats=repeats)
        before, after = (counted(way, cpu_s=taken) for way, taken in zip(ways, seconds, strict=True))
        ratio = round(before.cpu_s / max(after.cpu_s, 0.01), 2)
        rows.append({"overlap": overlap, "workers": count, "way": "one by one", **vars(before), "cpu_ratio": 1.0})
        rows.append({"overlap": overlap, "workers": count, "way": "in runs", **vars(after), "cpu_ratio": ratio})
    return rows


def features(config: ExperimentConfig, *, overlap: float, num_clips: int, repeats: int) -> dict[str, Any]:
    """Processor time of the detector with and without sharing, on the same clips."""
    config = override(
        config,
        [f"data.sampling.test_overlap={overlap}", "training.num_workers=0", "training.batch_size=1"],
    )
    seed_all(0)
    model = build_detector(config, num_classes=2).eval()
    batches: list[Batch] = []
    for _, batch in load_tests(TestingSet(config.data), config, processes=ALONE):
        batches.append(batch)
        if len(batches) == num_clips:
            break
    row: dict[str, Any] = {"overlap": overlap, "clips": len(batches)}
    found: dict[bool, list[torch.Tensor]] = {}

    def detect(share: bool) -> None:
        detector = ClipDetector(model, config=config, device=torch.device("cpu"), video_labels=None, share=share)
        found[share] = [window.scores for window in detector.in_clips(batches)]
        if detector.features is not None:
            row.update(pieces=detector.features.num_sub_clips, computed=detector.features.num_computed)

    ways = partial(detect, False), partial(detect, True)
    row["anew_cpu_s"], row["shared_cpu_s"] = least_seconds(*ways, repeats=repeats)
    top = min((len(scores) for scores in (*found[True], *found[False])), default=0)
    row["score_difference"] = max(
        float((shared[:top] - anew[:top]).abs().max()) if top else 0.0
        for shared, anew in zip(found[True], found[False], strict=True)
    )
    row["cpu_ratio"] = round(row["anew_cpu_s"] / max(row["shared_cpu_s"], 0.01), 2)
    return row


def configured(data: str, network: str, *, folder: Path, num_videos: int) -> ExperimentConfig:
    """ucf_mini's experiment of a network; or the same on the demo's videos, which are rendered into `folder`."""
    config = load_config(REPOSITORY / "configs" / "ucf_mini" / f"{network}.py", ["backbone.pretrained=None"])
    if data == "ucf_mini":
        return config
    make_demo_set(folder, num_train=1, num_test=num_videos)
    theirs = demo(data=folder).data
    names = ("annotations", "videos", "video_pattern", "train_subset", "test_subset", "classes")
    ours = config.data.model_copy(update={name: getattr(theirs, name) for name in names} | {"short_side_test": 80})
    return config.model_copy(update={"data": ours})


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    columns = list(rows[0])
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(str(row[name]) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["ucf_mini", "demo"], default="ucf_mini")
    parser.add_argument("--network", default="mobilenet_v2_shifted", help="a config of configs/ucf_mini")
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.5, 0.75])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="loader processes")
    parser.add_argument("--parts", choices=["reading", "features"], nargs="+", default=["reading", "features"])
    parser.add_argument("--videos", type=int, default=16, help="that the demo renders to test on")
    parser.add_argument("--clips", type=int, default=0, help="of which features are computed; 0: all")
    parser.add_argument("--repeats", type=int, default=3, help="of which the least processor time counts")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    result: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = configured(arguments.data, arguments.network, folder=Path(folder), num_videos=arguments.videos)
        for overlap in arguments.overlaps:
            if "reading" in arguments.parts:
                rows = reading(config, overlap=overlap, workers=arguments.workers, repeats=arguments.repeats)
                result.setdefault("reading", []).extend(rows)
            if "features" in arguments.parts:
                row = features(config, overlap=overlap, num_clips=arguments.clips, repeats=arguments.repeats)
                result.setdefault("features", []).append(row)
    if arguments.json:
        print(json.dumps({"data": arguments.data, "network": arguments.network, **result}))
        return
    for part, rows in result.items():
        print(f"\n{part}, {arguments.data}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
