"""What videos longer than a window take, and what it gives to see them whole.

    python benchmarks/long_video.py [--minutes 5 180] [--size 32] [--fps 25] [--device cpu] [--json]
    python benchmarks/long_video.py shares [--config configs/demo/long.py] [--cfg-options ...] [--json]
    python benchmarks/long_video.py context [--seeds 0 1 2] [--epochs 24] [--videos 12 6] [--read] [--json]

`prediction`: memory of `re2tal predict` against the length of the video, in windows and as a whole. It encodes a video
of each length, tiny but with every frame another, and predicts on it in a fresh process with windows as long as on
THUMOS-14 (512 steps of 4 frames, half of it shared with the next). The network is small and has random weights, so
every window gives as many candidates as the post-processing keeps, which is the worst case.

`shares`: memory and processor time of a training step against `backbone.sampled_gradients`, every share in a fresh
process (benchmarks/experiment_step.py), for each training strategy.

`context`: mAP on the demo's long variant of the same network trained and tested in windows of 64 s, on whole videos,
and on whole videos with gradients through a quarter of the chunks; windows are trained on so many times more that all
see as many frames. Two runs at a time, one thread each. A line of exps/long_video/results.jsonl for each run; a call
that was interrupted goes on where it was, and --read prints the table alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_lines import add_line, read_lines

from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.data.demo import make_demo_set
from re2tal.training import save_checkpoint, seed_all
from re2tal.video import write_video

CLASSES = ("first", "second", "third")
HERE = Path(__file__).parent
LONG_CONFIG = HERE.parent / "configs" / "demo" / "long.py"
SHARES = (1.0, 0.5, 0.25, 0.1)
STRATEGIES = {
    "plain": (),
    "checkpointed": ("backbone.activation_checkpointing=True",),
    "rewired": ("backbone.reversible=True",),
}
_WINDOW_STEPS = 128
NETWORKS = {
    "windows": (
        f"data.sampling.num_steps={_WINDOW_STEPS}",
        f"pyramid.max_steps={_WINDOW_STEPS}",
        "data.test_whole=False",
        "backbone.sampled_gradients=1",
    ),
    "whole": ("backbone.sampled_gradients=1",),
    "whole, a quarter": ("backbone.sampled_gradients=0.25",),
}


def frames(count: int, *, size: int) -> Iterator[NDArray[np.uint8]]:
    """Gradients that move with the frame number."""
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        channels = (x * 8 + number * 5, y * 8 + number * 3, x + y + number * 7)
        yield np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


def write_checkpoint(path: Path, *, size: int) -> None:
    """A detector with random weights and THUMOS-14's windows, as training would save it."""
    config: ExperimentConfig = override(
        demo(data=Path("nowhere")),
        [
            "data.sampling={'kind': 'window', 'num_steps': 512, 'frames_per_step': 2, 'frame_stride': 2}",
            f"data.short_side_test={size}",
            f"data.crop_size=({size},{size})",
            "pyramid.max_steps=512",
            "training.batch_size=2",
        ],
    )
    seed_all(0)
    model = build_detector(config, num_classes=len(CLASSES))
    content = {"config": config.model_dump_json(), "class_names": list(CLASSES), "epoch": 0}
    save_checkpoint(path, {**content, "weights": model.state_dict()})


def run(command: Sequence[str | Path]) -> tuple[str, float, float]:
    """What a Python program prints, its largest resident memory in MiB, and its processor seconds."""
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {told}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return told, peak, usage.ru_utime + usage.ru_stime


def predictions(minutes: list[float], *, size: int, fps: int, device: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of each length, in windows and as a whole."""
    checkpoint = folder / "detector.pth"
    write_checkpoint(checkpoint, size=size)
    rows = []
    for length in minutes:
        count = round(length * 60 * fps)
        video = folder / f"minutes_{length:g}.mp4"
        write_video(video, frames(count, size=size), fps=fps, threads=1)
        for whole in (False, True):
            command = ["-m", "re2tal", "predict", video, "--checkpoint", checkpoint, "--device", device, "--json"]
            out = folder / f"out_{length:g}_{whole}"
            start = time.perf_counter()
            _, peak, processor = run([*command, "--out", out, "--cfg-options", f"data.test_whole={whole}"])
            rows.append(
                {
                    "minutes": length,
                    "frames": count,
                    "seen": "whole" if whole else "in windows",
                    "peak_mib": round(peak, 1),
                    "seconds": round(time.perf_counter() - start, 1),
                    "processor_s": round(processor, 1),
                }
            )
        video.unlink()
    return rows


def shares(config: Path, *, options: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each share and training strategy."""
    rows = []
    for strategy, more in STRATEGIES.items():
        for share in SHARES:
            chosen = [*options, *more, f"backbone.sampled_gradients={share}"]
            told, _, _ = run(
                [HERE / "experiment_step.py", config, "--threads", "1", "--json", "--cfg-options", *chosen]
            )
            found = json.loads(told.splitlines()[-1])
            found["step_mib"] = round(found["peak_mib"] - found["libraries_mib"], 1)
            row = {name: found[name] for name in ("frames", "peak_mib", "step_mib", "processor_s")}
            rows.append({"strategy": strategy, "share": share, **row})
    return rows


def context_run(network: str, seed: int, *, epochs: int, data: Path, folder: Path) -> dict[str, Any]:
    """Train and test once; average precisions in percent over the tIoUs of the config."""
    times = 1200 // _WINDOW_STEPS if network == "windows" else 1
    work = folder / f"{network.replace(', ', '_').replace(' ', '_')}_seed{seed}"
    options = [
        *NETWORKS[network],
        f"training.epochs={epochs * times}",
        f"training.checkpoint_every={epochs * times}",
        f"data.annotations={data / 'annotations.json'}",
        f"data.videos={data / 'videos'}",
        f"work_dir={work}",
    ]
    both = [LONG_CONFIG, "--seed", str(seed), "--device", "cpu"]
    _, peak, trained = run(["-m", "re2tal", "train", *both, "--not_eval", "--cfg-options", *options])
    checkpoint = work / "gpu1_id0" / "checkpoint" / f"epoch_{epochs * times - 1}.pth"
    _, _, tested = run(["-m", "re2tal", "test", *both, "--checkpoint", checkpoint, "--cfg-options", *options])
    metrics = json.loads((work / "gpu1_id0" / "metrics.json").read_text(encoding="utf-8"))
    classes = {name: round(100 * mean(values), 2) for name, values in metrics["per_class"].items()}
    return {
        "network": network,
        "seed": seed,
        "epochs": epochs,
        "mAP": round(100 * metrics["average_mAP"], 2),
        "per_class": classes,
        "training_peak_mib": round(peak, 1),
        "training_processor_s": round(trained, 1),
        "testing_processor_s": round(tested, 1),
    }


def context(
    seeds: list[int], *, epochs: int, videos: tuple[int, int], folder: Path, read: bool
) -> list[dict[str, Any]]:
    """A row for each run."""
    results = folder / "results.jsonl"
    if not read:
        os.environ["OMP_NUM_THREADS"] = "1"
        num_train, num_test = videos
        data = folder / f"data_{num_train}_{num_test}"
        if not (data / "annotations.json").is_file():
            make_demo_set(data, long=True, num_train=num_train, num_test=num_test)
        done = {(row["network"], row["seed"], row["epochs"]) for row in read_lines(results)}
        missing = [(network, seed) for seed in seeds for network in NETWORKS if (network, seed, epochs) not in done]
        one = partial(context_run, epochs=epochs, data=data, folder=folder)
        with ThreadPoolExecutor(2) as pool:
            for task in [pool.submit(one, network, seed) for network, seed in missing]:
                add_line(results, task.result())
    return read_lines(results)


def context_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds; `alike` are the two classes that only context tells apart."""
    table = []
    for network in NETWORKS:
        runs = [row for row in rows if row["network"] == network]
        if not runs:
            continue
        alike = [mean(value for name, value in row["per_class"].items() if "after" in name) for row in runs]
        others = [mean(value for name, value in row["per_class"].items() if "after" not in name) for row in runs]
        table.append(
            {
                "network": network,
                "seeds": len(runs),
                "mAP": round(mean(row["mAP"] for row in runs), 1),
                "from": min(row["mAP"] for row in runs),
                "to": max(row["mAP"] for row in runs),
                "alike": round(mean(alike), 1),
                "others": round(mean(others), 1),
                "peak_mib": round(max(row["training_peak_mib"] for row in runs)),
                "processor_s": round(mean(row["training_processor_s"] for row in runs)),
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["prediction", "shares", "context"], default="prediction")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 180])
    parser.add_argument("--size", type=int, default=32, help="height and width of the video, and of what is seen of it")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--config", type=Path, default=LONG_CONFIG)
    parser.add_argument(
        "--cfg-options",
        nargs="*",
        default=["backbone.blocks=(2,2)"],
        help="key=value, of `shares`; by default two blocks a stage, of which the second can be rewired",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=24, help="passes over whole videos")
    parser.add_argument("--videos", type=int, nargs=2, default=(12, 6), help="to train and to test on")
    parser.add_argument("--out", type=Path, default=Path("exps/long_video"), help="of `context`")
    parser.add_argument("--read", action="store_true", help="print what earlier calls of `context` have found")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    match args.part:
        case "prediction":
            with tempfile.TemporaryDirectory() as folder:
                rows = predictions(args.minutes, size=args.size, fps=args.fps, device=args.device, folder=Path(folder))
        case "shares":
            rows = shares(args.config, options=args.cfg_options)
        case _:
            videos = (args.videos[0], args.videos[1])
            rows = context_table(
                context(args.seeds, epochs=args.epochs, videos=videos, folder=args.out, read=args.read)
            )
    if args.json:
        print(json.dumps(rows))
        return
    for line in ([*rows[0]], ["---"] * len(rows[0]), *(row.values() for row in rows)) if rows else ():
        print(f"| {' | '.join(map(str, line))} |")


if __name__ == "__main__":
    main()
