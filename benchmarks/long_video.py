"""Memory of `re2tal predict` against the length of the video.

    python benchmarks/long_video.py [--minutes 5 180] [--size 32] [--fps 25] [--device cpu] [--json]

Encodes a video of each length, tiny but with every frame another, and predicts on it in a fresh process with windows as
long as on THUMOS-14 (512 steps of 4 frames, half of it shared with the next). The network is small and has random
weights, so every window gives as many candidates as the post-processing keeps, which is the worst case.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.training import save_checkpoint, seed_all
from re2tal.video import write_video

CLASSES = ("first", "second", "third")


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


def predict(video: Path, *, checkpoint: Path, out: Path, device: str) -> tuple[float, float]:
    """Largest resident memory in MiB, and seconds, of the whole command."""
    command = [sys.executable, "-m", "re2tal", "predict", str(video), "--checkpoint", str(checkpoint), "--json"]
    start = time.perf_counter()
    command += ["--out", str(out), "--device", device]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{video} could not be predicted on: {told}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), time.perf_counter() - start


def measure(minutes: list[float], *, size: int, fps: int, device: str, folder: Path) -> list[dict[str, Any]]:
    """One row for each length."""
    checkpoint = folder / "detector.pth"
    write_checkpoint(checkpoint, size=size)
    rows = []
    for length in minutes:
        count = round(length * 60 * fps)
        video = folder / f"minutes_{length:g}.mp4"
        write_video(video, frames(count, size=size), fps=fps, threads=1)
        peak, seconds = predict(video, checkpoint=checkpoint, out=folder / f"out_{length:g}", device=device)
        rows.append({"minutes": length, "frames": count, "peak_mib": round(peak, 1), "seconds": round(seconds, 1)})
        video.unlink()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 180])
    parser.add_argument("--size", type=int, default=32, help="height and width of the video, and of what is seen of it")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(
            arguments.minutes,
            size=arguments.size,
            fps=arguments.fps,
            device=arguments.device,
            folder=Path(folder),
        )
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| minutes | frames | peak MiB | s |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['minutes']:g} | {row['frames']} | {row['peak_mib']:.0f} | {row['seconds']:.0f} |")


if __name__ == "__main__":
    main()
