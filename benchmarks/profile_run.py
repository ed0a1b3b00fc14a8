"""Where the time of training and testing goes: the tables of docs/performance.md.

    python benchmarks/profile_run.py [--sets demo ucf_mini] [--network re2slowfast] [--json]

One epoch of training, and one test pass with the metric, in one process on one thread, without loader processes and
with no frames kept in memory (`data.cache_mib=0`), as with videos that do not fit there. Processor seconds by Python's
profiler. The first epoch is left out, since it fills caches.
"""

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from re2tal.config import ExperimentConfig, load_config, override
from re2tal.data.demo import make_demo_set
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder, Trainer, log

REPOSITORY = Path(__file__).resolve().parents[1]
LOADING = "augmentation and the rest of loading"
GROUPS: dict[str, tuple[tuple[str, str], ...]] = {
    "indexing files": (("video/index.py", "index_of"),),
    "opening and decoding": (("video/reader.py", "_frame"),),
    "scaling and colour": (("video/pictures.py", "rgb"),),
    LOADING: (("utils/data/dataloader.py", "__next__"),),
    "forward pass": (("re2tal/networks/detector.py", "forward"),),
    "backward pass": (("", "<method 'run_backward' of 'torch._C._EngineBase' objects>"),),
    "optimizer and averaged weights": (("training/loop.py", "_update"),),
    "post-processing": (("detections/postprocess.py", "detect_window"), ("detections/postprocess.py", "merge_windows")),
    "metric": (("re2tal/experiments/tester.py", "measure"),),
}
"""Functions by the end of their file's name and their own; none is called by one of another group, but for loading."""


def times_of(profile: cProfile.Profile) -> dict[str, float]:
    """Processor seconds of each group, of what is in none, and of all."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    found = {name: sum(_cumulative(stats, *function) for function in places) for name, places in GROUPS.items()}
    found[LOADING] -= sum(list(found.values())[: list(found).index(LOADING)])
    total = sum(own for _, _, own, _, _ in stats.values())
    return {**found, "everything else": total - sum(found.values()), "all": total}


def _cumulative(stats: dict[Any, Any], file: str, function: str) -> float:
    """Of a function and what it calls, without calls of itself in itself."""
    return sum(
        cumulative
        for (place, _, name), (_, _, _, cumulative, _) in stats.items()
        if name == function and (not file or place.endswith(file))
    )


def settings_of(data_set: str, network: str, *, folder: Path) -> ExperimentConfig:
    options = [
        f"work_dir={folder / 'run'}",
        "data.cache_mib=0",
        "training.num_workers=0",
        "training.epochs=2",
        "training.warmup_epochs=0.5",
    ]
    options += ["training.eval_from=2", "training.checkpoint_every=1", "training.anneal_epochs=0"]
    if data_set == "demo":
        make_demo_set(folder / "data", num_train=48, num_test=24)
        options += [f"data.annotations={folder / 'data/annotations.json'}", f"data.videos={folder / 'data/videos'}"]
    return override(load_config(REPOSITORY / "configs" / data_set / f"{network}.py"), options)


def profiled(data_set: str, network: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        config = settings_of(data_set, network, folder=Path(temporary))
        folder = RunFolder(Path(temporary) / "run")
        epoch = cProfile.Profile(time.process_time)
        with only_the_second_epoch(epoch):
            experiment.train(config, processes=Processes(), folder=folder, evaluate=False)
        test = cProfile.Profile(time.process_time)
        test.runcall(experiment.test, config, processes=Processes(), folder=folder, checkpoint=folder.epoch(1))
        names = {"set": data_set, "network": network}
        return [{**names, "pass": "an epoch", **times_of(epoch)}, {**names, "pass": "a test pass", **times_of(test)}]


@contextmanager
def only_the_second_epoch(profile: cProfile.Profile) -> Iterator[None]:
    """Profile the steps of a run's second epoch."""
    train_epoch = Trainer._train_epoch

    def profiled_epoch(trainer: Trainer, epoch: int, progress: Any) -> None:
        if epoch == 1:
            profile.runcall(train_epoch, trainer, epoch, progress)
        else:
            train_epoch(trainer, epoch, progress)

    Trainer._train_epoch = profiled_epoch  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._train_epoch = train_epoch  # type: ignore[method-assign]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a column for each pass, seconds and shares."""
    heads = [f"{row['set']}, {row['pass']}" for row in rows]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in (*GROUPS, "everything else", "all"):
        cells = [f"{row[name]:.2f} s ({100 * row[name] / row['all']:.0f} %)" for row in rows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=("demo", "ucf_mini"), default=["demo", "ucf_mini"])
    parser.add_argument("--network", default="re2slowfast", help="a config of both sets")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    log.setLevel("WARNING")
    rows = [row for data_set in args.sets for row in profiled(data_set, args.network)]
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
