"""Time of soft-NMS and voting, against going from one pick to the next.

    python benchmarks/postprocessing.py [--repeats 15] [--cases 1 2 ...] [--seed 0] [--json]

Candidates are what is left of the windows of a random video (`detector_outputs.py`): 2000 of each window of 68 s, in
clusters around actions, from six levels, with a long tail of low scores. Most are of the one or two classes that the
video shows; cases "even" deal the same segments to the classes at random. Scores of "alike" differ by less than 0.1 %;
segments of "overlap" all begin within 0.3 s and last 1 to 9 s. Settings are those of the published experiments: per
class, at most 2000, or class-agnostic, at most 100, with voting at 0.9; sigma 0.7, least score 0.001.

`sequential` picks, lowers by one row of overlaps in numpy, and picks again; it does not vote. `difference` is the
largest between its scores and ours. `reference` is what the reference implementation's compiled code took on another
machine of this class for as many candidates. Milliseconds are medians of processor time on one thread; `wall` is the
clock's.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import detector_outputs
import numpy as np
import torch
from torch import Tensor

from re2tal.detections import NmsConfig, PostprocessConfig, detect_window, soft_nms

NUM_CLASSES = 20
PER_CLASS = NmsConfig()
VOTING = NmsConfig(per_class=False, voting_tiou=0.9, max_segments=100)
AGNOSTIC = NmsConfig(per_class=False)

Candidates = tuple[Tensor, Tensor, Tensor]


def of_video(seconds: float, *, rng: np.random.Generator, even: bool = False) -> Candidates:
    """(N, 2) segments in seconds, (N,) scores, (N,) labels of all windows of a random video."""
    video = detector_outputs.random_video(seconds, num_classes=NUM_CLASSES, rng=rng)
    windows = [
        detect_window(proposals, grid=grid, video_id="video", config=PostprocessConfig(), merged_later=True)
        for proposals, grid in detector_outputs.windows_of(video, num_classes=NUM_CLASSES, rng=rng)
    ]
    segments, scores, labels = (
        torch.cat([getattr(window, name) for window in windows]) for name in ("segments", "scores", "labels")
    )
    if even:
        labels = torch.from_numpy(rng.integers(NUM_CLASSES, size=len(labels)))
    return segments, scores, labels


def alike(count: int, *, rng: np.random.Generator, spread: float) -> Candidates:
    """Segments that begin within `spread` seconds, with nearly equal scores."""
    starts, lengths = rng.uniform(0, spread, count), rng.uniform(1, 9, count)
    return (
        torch.from_numpy(np.stack([starts, starts + lengths], 1)).float(),
        torch.from_numpy(rng.uniform(0.5, 0.5005, count)).float(),
        torch.from_numpy(rng.integers(NUM_CLASSES, size=count)),
    )


CASES: list[tuple[str, NmsConfig, float | None, Callable[[np.random.Generator], Candidates]]] = [
    ("20 classes", PER_CLASS, 3.4, lambda rng: of_video(68, rng=rng)),
    ("class-agnostic, voting", VOTING, 6.8, lambda rng: of_video(68, rng=rng)),
    ("20 classes", PER_CLASS, 14.3, lambda rng: of_video(200, rng=rng)),
    ("20 classes, even", PER_CLASS, 3.4, lambda rng: of_video(68, rng=rng, even=True)),
    ("20 classes, even", PER_CLASS, 14.3, lambda rng: of_video(200, rng=rng, even=True)),
    ("20 classes", PER_CLASS, None, lambda rng: of_video(720, rng=rng)),
    ("class-agnostic, at most 2000", AGNOSTIC, None, lambda rng: of_video(68, rng=rng)),
    ("20 classes, alike", PER_CLASS, 3.4, lambda rng: alike(2000, rng=rng, spread=200.0)),
    ("20 classes, alike, overlap", PER_CLASS, 3.4, lambda rng: alike(2000, rng=rng, spread=0.3)),
    ("class-agnostic, voting, alike, overlap", VOTING, 6.8, lambda rng: alike(2000, rng=rng, spread=0.3)),
    ("20 classes, alike, overlap", PER_CLASS, 14.3, lambda rng: alike(10_000, rng=rng, spread=0.3)),
]
"""What, settings, the reference's milliseconds for as many candidates, and how they are made."""


def sequential(segments: Tensor, *, scores: Tensor, labels: Tensor, config: NmsConfig) -> Tensor:
    """One pick after the other, class after class; without voting. (M,) scores, best first."""
    groups = labels if config.per_class else torch.zeros_like(labels)
    found: list[float] = []
    for group in groups.unique():
        starts, ends = segments[groups == group].numpy().T
        left = scores[groups == group].numpy().copy()
        for _ in range(min(len(left), config.max_segments)):
            best = int(left.argmax())
            if left[best] < config.min_score:
                break
            found.append(float(left[best]))
            overlap = np.maximum(np.minimum(ends, ends[best]) - np.maximum(starts, starts[best]), 0)
            union = (ends - starts) + (ends[best] - starts[best]) - overlap
            iou = overlap / np.maximum(union, 1e-7)
            left *= np.exp(iou * iou / -config.sigma)
            left[best] = -1
    return torch.tensor(found).sort(descending=True).values[: config.max_segments]


def milliseconds(work: Callable[[], Any], *, repeats: int) -> tuple[float, float]:
    """Medians of the processor's time and of the clock's."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        work()
        taken.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    processor, wall = (1000 * statistics.median(column) for column in zip(*taken, strict=True))
    return processor, wall


def measure(number: int, *, repeats: int, seed: int) -> dict[str, Any]:
    """One row."""
    what, config, reference, make = CASES[number - 1]
    segments, scores, labels = make(np.random.default_rng(seed))
    _, ours, _ = soft_nms(segments, scores=scores, labels=labels, config=config)
    plain = sequential(segments, scores=scores, labels=labels, config=config)
    taken, wall = milliseconds(lambda: soft_nms(segments, scores=scores, labels=labels, config=config), repeats=repeats)
    plain_taken, _ = milliseconds(
        lambda: sequential(segments, scores=scores, labels=labels, config=config), repeats=max(repeats // 5, 1)
    )
    return {
        "case": number,
        "candidates": len(scores),
        "what": what,
        "kept": len(ours),
        "ms": round(taken, 2),
        "wall_ms": round(wall, 2),
        "sequential_ms": round(plain_taken, 2),
        "ratio": round(plain_taken / taken, 2),
        "reference_ms": reference,
        "difference": float((ours - plain).abs().max()) if len(ours) == len(plain) else float("inf"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = range(1, len(CASES) + 1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cases", type=int, nargs="+", choices=numbers, default=numbers, metavar="N", help="by number")
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(number, repeats=arguments.repeats, seed=arguments.seed) for number in arguments.cases]
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| candidates | | kept | ms | wall | sequential | ratio | reference | difference |\n" + "|---" * 9 + "|")
    for row in rows:
        cells = [f"{row['candidates']:,}", row["what"], row["kept"], *(row[key] for key in ("ms", "wall_ms"))]
        cells += [row["sequential_ms"], row["ratio"], row["reference_ms"] or "", f"{row['difference']:.0e}"]
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
