"""What preparing one training sample of THUMOS costs, against public alternatives: a table of docs/performance.md.

    pip install -e ".[benchmarks]"
    python benchmarks/sample_preparation.py [--sizes 320x240 1280x720] [--frames 1024] [--repeats 3] [--json]

1024 frames, every second one of an H.264 file, are decoded, resized to a short side of 256, cropped at random, flipped,
changed by two operations of RandAugment and in colour, to a (3, T, 224, 224) uint8 tensor. The alternatives do so with
decord2 or PyAV and transforms of torchvision v2 on the whole clip. Every measurement is a process of its own on one
thread, after a small clip that warms it up: processor seconds, and how far the process's own maximum of memory rises
above what libraries and the open file take, as a share of the clip that comes out.

Videos are rendered: a camera that moves over noise as rough as a natural picture is, with objects and film grain. All
three ways see the same random numbers in kind, not in value, so a run takes the mean over several seeds.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from re2tal.video import write_video

WAYS = ("re2tal", "decord2 + torchvision v2", "PyAV + torchvision v2")
STRIDE = 2
SIZE = (224, 224)
SHORT_SIDE = 256


# The files


def rendered(width: int, height: int, *, num_frames: int, seed: int = 0) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 frames."""
    rng = np.random.default_rng(seed)
    scene = np.stack([natural_noise(2 * height, 2 * width, rng=rng) for _ in range(3)], axis=-1)
    things = [
        (rng.uniform(0.1, 0.3), rng.uniform(0, 6.3, 2), rng.uniform(0.005, 0.03), rng.integers(0, 256, 3))
        for _ in range(6)
    ]
    grains = rng.normal(0, 3, (8, height, width, 1)).astype(np.float32)
    for number in range(num_frames):
        top = round((np.sin(number / 97) + 1) / 2 * (height - 1))
        left = round((np.cos(number / 71) + 1) / 2 * (width - 1))
        frame = scene[top : top + height, left : left + width].copy()
        for side, phase, speed, colour in things:
            size = round(side * height)
            y, x = ((np.sin(phase + number * speed) + 1) / 2 * (height - size, width - size)).astype(int)
            frame[y : y + size, x : x + size] = 0.6 * frame[y : y + size, x : x + size] + 0.4 * colour
        yield (frame + grains[number % 8]).clip(0, 255).astype(np.uint8)


def natural_noise(height: int, width: int, *, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 in [0, 255] with the spectrum of natural pictures, amplitude falling with frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / frequency
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return (128 + 50 * (noise - noise.mean()) / noise.std()).clip(0, 255).astype(np.float32)


# The ways, each from a path and a seed to (3, T, 224, 224) uint8


def ours(num_frames: int) -> Callable[[Path, int], Tensor]:
    """What `TrainingSet` does."""
    from re2tal.video import AugmentConfig, augment, open_video

    def prepare(path: Path, seed: int) -> Tensor:
        with open_video(path, threads=1) as reader:
            frames = reader.stream(range(0, num_frames * STRIDE, STRIDE), size=SHORT_SIDE)
            rng = np.random.default_rng(seed)
            return augment(frames, rng=rng, config=AugmentConfig(), size=SIZE, num_frames=num_frames)

    return prepare


def torchvision_changes() -> Callable[[Tensor], Tensor]:
    """(T, 3, H, W) uint8 -> (T, 3, 224, 224) uint8."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.Resize(SHORT_SIDE, antialias=True),
            v2.RandomResizedCrop(SIZE, scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(num_ops=2),
            v2.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
        ]
    )


def with_decord(num_frames: int) -> Callable[[Path, int], Tensor]:
    import decord

    changes = torchvision_changes()

    def prepare(path: Path, seed: int) -> Tensor:
        torch.manual_seed(seed)
        reader = decord.VideoReader(str(path), num_threads=1)
        frames = reader.get_batch(range(0, num_frames * STRIDE, STRIDE)).asnumpy()
        return changes(torch.from_numpy(frames).permute(0, 3, 1, 2)).transpose(0, 1).contiguous()

    return prepare


def with_pyav(num_frames: int) -> Callable[[Path, int], Tensor]:
    import av

    changes = torchvision_changes()

    def prepare(path: Path, seed: int) -> Tensor:
        torch.manual_seed(seed)
        frames = []
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number == num_frames * STRIDE:
                    break
                if number % STRIDE == 0:
                    frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
        return changes(torch.stack(frames).permute(0, 3, 1, 2)).transpose(0, 1).contiguous()

    return prepare


MAKERS = dict(zip(WAYS, (ours, with_decord, with_pyav), strict=True))


# Measuring


def run_case(way: str, path: Path, *, num_frames: int, seeds: list[int]) -> dict[str, Any]:
    """In a process of its own."""
    torch.set_num_threads(1)
    MAKERS[way](16)(path, 0)
    base = peak_bytes()
    prepare = MAKERS[way](num_frames)
    seconds = []
    for seed in seeds:
        before = time.process_time()
        clip = prepare(path, seed)
        seconds.append(time.process_time() - before)
        assert clip.shape == (3, num_frames, *SIZE) and clip.dtype == torch.uint8
        del clip  # before the next one is made
    return {
        "cpu_seconds": statistics.mean(seconds),
        "peak_of_clip": (peak_bytes() - base) / (3 * num_frames * SIZE[0] * SIZE[1]),
        "each": seconds,
    }


def peak_bytes() -> int:
    """The most that this process has held; Linux's `ru_maxrss` begins with what the calling process held."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_process(way: str, path: Path, *, num_frames: int, seeds: list[int]) -> dict[str, Any]:
    case = json.dumps([way, str(path), num_frames, seeds])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--case", case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["320x240", "1280x720"], help="of the files, WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, default=1024, help="of the clip")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=6, help="clips that a measurement is the mean of")
    parser.add_argument("--repeats", type=int, default=3, help="measurements that the median is taken of")
    parser.add_argument("--videos", type=Path, help="folder in which the files are kept for another call")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        way, path, num_frames, seeds = json.loads(args.case)
        print(json.dumps(run_case(way, Path(path), num_frames=num_frames, seeds=seeds)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.videos or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for size in args.sizes:
            width, height = map(int, size.split("x"))
            path = folder / f"{size}_{args.frames}.mp4"
            if not path.is_file():
                frames = rendered(width, height, num_frames=args.frames * STRIDE)
                write_video(path, frames, fps=30, crf=23, key_interval=250)
            found: dict[str, list[dict[str, Any]]] = {way: [] for way in args.ways}
            for repeat in range(args.repeats):  # in turn, so that a change of the machine meets all
                seeds = list(range(repeat * args.seeds, (repeat + 1) * args.seeds))
                for way in args.ways:
                    found[way].append(in_process(way, path, num_frames=args.frames, seeds=seeds))
            for way, runs in found.items():
                row = {name: statistics.median(run[name] for run in runs) for name in ("cpu_seconds", "peak_of_clip")}
                rows.append({"size": size, "mib": path.stat().st_size / 2**20, "way": way, **row})
    print(json.dumps(rows) if args.json else table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| file | way | processor s | times ours | peak memory, of the clip |", "|---" * 5 + "|"]
    for row in rows:
        ours = next(
            (other["cpu_seconds"] for other in rows if (other["size"], other["way"]) == (row["size"], WAYS[0])), None
        )
        ratio = f"{row['cpu_seconds'] / ours:.1f}" if ours else ""
        lines.append(
            f"| {row['size']}, {row['mib']:.1f} MiB | {row['way']} | {row['cpu_seconds']:.2f} | {ratio} | "
            f"{row['peak_of_clip']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
