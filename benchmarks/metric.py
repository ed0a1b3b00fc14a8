"""Time and memory of the metric on a million predictions, from tables in memory and from files.

    python benchmarks/metric.py [--predictions 1000000] [--videos 5000] [--classes 200] [--seed 0] [--json]

Every video has ten actions of one or two classes; predictions are copies of actions with blurred ends, four fifths of
them with the right class. Every row comes from a fresh process that measures ten tIoUs: `tables` has the arrays
already, `npz` and `json` read them from files. Seconds are the processor's; `wall` is the clock's. `peak` is the
largest resident size of the process, `libraries` that of it before it has read anything.

`plain` goes through the predictions one by one, as the public evaluation code does, on every hundredth video; its rate
is what the others' is compared with, and `difference` is the largest between its average precisions and ours, there.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.evaluation import GroundTruth, Predictions, mean_average_precision, read_predictions

TIOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
ACTIONS_PER_VIDEO = 10
REFERENCE_RATE = 3080
"""Predictions a second of the reference implementation, with five tIoUs and two processes, on another machine of this
class."""
PARTS = ("tables", "npz", "json", "plain")


def make(folder: Path, *, count: int, num_videos: int, num_classes: int, seed: int) -> None:
    """Arrays and files."""
    rng = np.random.default_rng(seed)
    num_actions = num_videos * ACTIONS_PER_VIDEO
    video = np.repeat(np.arange(num_videos), ACTIONS_PER_VIDEO)
    shown = rng.integers(num_classes, size=(num_videos, 2))
    label = shown[video, rng.integers(2, size=num_actions)]
    starts = rng.uniform(0, 240, num_actions)
    segments = np.stack([starts, starts + rng.uniform(5, 60, num_actions)], 1)
    copied = np.sort(rng.integers(num_actions, size=count))
    found = {
        "video_index": video[copied],
        "label_index": np.where(rng.random(count) < 0.8, label[copied], rng.integers(num_classes, size=count)),
        "segments": np.sort((segments[copied] + rng.normal(0, 4, (count, 2))).clip(min=0), axis=1),
        "scores": rng.beta(0.5, 3, count),
    }
    np.savez(folder / "truth.npz", video_index=video, label_index=label, segments=segments)
    np.savez(folder / "tables.npz", **found)
    ids, names = names_of(num_videos, num_classes)
    columns = {
        "video_id": np.array(ids)[found["video_index"]],
        "label": np.array(names)[found["label_index"]],
        "t_start": found["segments"][:, 0],
        "t_end": found["segments"][:, 1],
        "score": found["scores"],
    }
    np.savez(folder / "predictions.npz", **columns)
    cuts = np.searchsorted(found["video_index"], np.arange(num_videos + 1))
    with (folder / "predictions.json").open("w") as file:
        file.write('{"version": "ActivityNet-1.3", "results": {')
        for number, video_id in enumerate(ids):
            part = slice(cuts[number], cuts[number + 1])
            rows = zip(
                found["segments"][part].tolist(),
                columns["label"][part].tolist(),
                columns["score"][part].tolist(),
                strict=True,
            )
            told = [{"segment": segment, "label": label, "score": score} for segment, label, score in rows]
            file.write(f"{', ' if number else ''}{json.dumps(video_id)}: {json.dumps(told)}")
        file.write('}, "external_data": {}}')


def names_of(num_videos: int, num_classes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of videos and names of classes."""
    ids = tuple(f"video_{number:06d}" for number in range(num_videos))
    return ids, tuple(f"class {number:03d}" for number in range(num_classes))


def ground_truth(folder: Path, *, num_videos: int, num_classes: int) -> GroundTruth:
    """Of the arrays in a folder; classes that no video shows are left out."""
    ids, names = names_of(num_videos, num_classes)
    with np.load(folder / "truth.npz") as arrays:
        used, label = np.unique(arrays["label_index"], return_inverse=True)
        return GroundTruth(
            video_ids=ids,
            class_names=tuple(names[index] for index in used),
            video_index=arrays["video_index"],
            label_index=label,
            segments=arrays["segments"],
        )


def predictions_of(folder: Path, part: str, *, num_videos: int, num_classes: int) -> Predictions:
    """From where `part` says."""
    if part in ("npz", "json"):
        return read_predictions(folder / f"predictions.{part}")
    ids, names = names_of(num_videos, num_classes)
    with np.load(folder / "tables.npz") as arrays:
        return Predictions(video_ids=ids, class_names=names, **{name: arrays[name] for name in arrays.files})


def plain_precisions(truth: GroundTruth, found: Predictions) -> list[list[float]]:
    """Average precision of every class at every tIoU, one prediction after the other."""
    table = []
    for label, name in enumerate(truth.class_names):
        of_class = np.flatnonzero(found.label_index == found.class_names.index(name))
        of_class = of_class[np.argsort(-found.scores[of_class], kind="stable")]
        actions = np.flatnonzero(truth.label_index == label)
        free = np.ones((len(TIOUS), len(actions)), bool)
        hits = np.zeros((len(TIOUS), len(of_class)), bool)
        for place, number in enumerate(of_class):
            here = np.flatnonzero(truth.video_index[actions] == found.video_index[number])
            start, end = found.segments[number]
            starts, ends = truth.segments[actions[here]].T
            overlap = np.maximum(np.minimum(end, ends) - np.maximum(start, starts), 0)
            iou = overlap / (end - start + ends - starts - overlap)
            for row, tiou in enumerate(TIOUS):
                best = next(
                    (index for index in np.argsort(-iou) if iou[index] >= tiou and free[row, here[index]]), None
                )
                if best is not None:
                    hits[row, place], free[row, here[best]] = True, False
        precision = hits.cumsum(1) / np.arange(1, len(of_class) + 1)
        highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        table.append(((highest * hits).sum(1) / len(actions)).tolist())
    return table


def every_hundredth(truth: GroundTruth, found: Predictions) -> tuple[GroundTruth, Predictions]:
    """The same of fewer videos."""
    actions, rows = truth.video_index % 100 == 0, found.video_index % 100 == 0
    used, label = np.unique(truth.label_index[actions], return_inverse=True)
    some = GroundTruth(
        video_ids=truth.video_ids[::100],
        class_names=tuple(truth.class_names[index] for index in used),
        video_index=truth.video_index[actions] // 100,
        label_index=label,
        segments=truth.segments[actions],
    )
    return some, Predictions(
        video_ids=truth.video_ids[::100],
        class_names=found.class_names,
        video_index=found.video_index[rows] // 100,
        label_index=found.label_index[rows],
        segments=found.segments[rows],
        scores=found.scores[rows],
    )


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(folder: Path, part: str, *, num_videos: int, num_classes: int) -> dict[str, Any]:
    """One row, in this process."""
    libraries = peak_mib()
    truth = ground_truth(folder, num_videos=num_videos, num_classes=num_classes)
    start = time.process_time()
    found = predictions_of(folder, part, num_videos=num_videos, num_classes=num_classes)
    reading = time.process_time() - start
    row: dict[str, Any] = {"part": part}
    if part == "plain":
        truth, found = every_hundredth(truth, found)
        ours = mean_average_precision(truth, found, tious=TIOUS)
    start, wall = time.process_time(), time.perf_counter()
    if part == "plain":
        difference = np.array(plain_precisions(truth, found)) - np.array(list(ours.per_class.values()))
        row["difference"] = float(np.abs(difference).max())
    else:
        row["average_mAP"] = mean_average_precision(truth, found, tious=TIOUS).average
    seconds = time.process_time() - start
    return row | {
        "predictions": len(found.scores),
        "reading_s": round(reading, 3) if part in ("npz", "json") else None,
        "metric_s": round(seconds, 3),
        "wall_s": round(time.perf_counter() - wall, 3),
        "rate": round(len(found.scores) / seconds),
        "peak_mib": round(peak_mib()),
        "libraries_mib": round(libraries),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of actions and predictions")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument(
        "--part", nargs=2, metavar=("PART", "FOLDER"), help=argparse.SUPPRESS
    )  # in a process of its own
    arguments = parser.parse_args()
    sizes = {"num_videos": arguments.videos, "num_classes": arguments.classes}
    if arguments.part:
        part, folder = arguments.part[0], Path(arguments.part[1])
        if part == "make":
            make(folder, count=arguments.predictions, seed=arguments.seed, **sizes)
        else:
            print(json.dumps(measure(folder, part, **sizes)))
        return
    command = [sys.executable, __file__, "--videos", str(arguments.videos), "--classes", str(arguments.classes)]
    with tempfile.TemporaryDirectory() as name:
        making = ["--predictions", str(arguments.predictions), "--seed", str(arguments.seed)]
        subprocess.run([*command, *making, "--part", "make", name], check=True)
        done = [
            subprocess.run([*command, "--part", part, name], check=True, capture_output=True, text=True)
            for part in PARTS
        ]
    rows = [json.loads(process.stdout) for process in done]
    plain = rows[-1]
    for row in rows:
        row["ratio"] = round(row["rate"] / plain["rate"])
        row["reference_ratio"] = round(row["rate"] / REFERENCE_RATE)
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| | predictions | reading s | metric s | wall | a second | to plain | to the reference | peak | libraries |")
    print("|---" * 10 + "|")
    for row in rows:
        cells = [row["part"], f"{row['predictions']:,}", row["reading_s"] or "", row["metric_s"], row["wall_s"]]
        cells += [f"{row['rate']:,}", row["ratio"], row["reference_ratio"]]
        cells += [f"{row[key]} MiB" for key in ("peak_mib", "libraries_mib")]
        print(f"| {' | '.join(map(str, cells))} |")
    print(f"\nlargest difference to plain: {plain['difference']:.0e}")


if __name__ == "__main__":
    main()
