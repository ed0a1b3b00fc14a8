"""From video files to the device: an epoch of the demo, and how fast clips arrive."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.config import override
from re2tal.config.presets import demo, thumos
from re2tal.data import annotations_of, training_clips
from re2tal.data.demo import make_demo_set
from re2tal.data.demo.motion import write_script
from re2tal.data.demo.render import FPS, render
from re2tal.experiments import experiment
from re2tal.experiments.device_check.context import PartContext, Row
from re2tal.experiments.device_check.measuring import elapsed
from re2tal.experiments.loading import load_epochs
from re2tal.networks.backbones import SwinConfig
from re2tal.reversible.devices import traits_of
from re2tal.training import Processes, RunFolder
from re2tal.video import write_video

__all__ = ["measure_decoding", "run_demo_epoch"]


_ONE_EPOCH = [
    "training.epochs=1",
    "training.eval_from=0",
    "training.warmup_epochs=0.5",
    "training.log_every=1",
    "training.amp=auto",
    "backbone.reversible=True",  # streams are to come back
]


def run_demo_epoch(context: PartContext) -> None:
    """Make the demo's videos, train an epoch on them, and test: that the whole path works, and how long it takes."""
    num_train, num_test = context.sizes.demo_videos
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        make_demo_set(folder / "data", seed=0, num_train=num_train, num_test=num_test)
        row: Row = {"videos": num_train, "rendering_s": round(time.perf_counter() - start, 2)}
        context.keep(row)
        config = override(demo(data=folder / "data", work_dir=folder), _ONE_EPOCH)
        run = RunFolder(folder / "run")
        start = time.perf_counter()
        experiment.train(config, processes=Processes(device=context.device), folder=run)
        row["epoch_and_test_s"] = round(time.perf_counter() - start, 2)
        records = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    steps = [record for record in records if record["kind"] == "step"]
    errors = [step["reconstruction_error"] for step in steps]
    row |= {
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "clips_per_second": round(steps[-1]["clips_per_second"], 2),
        "reconstruction_error": max(errors),
        "average_mAP": next(record["average_mAP"] for record in records if record["kind"] == "evaluation"),
    }
    context.keep(row)


def measure_decoding(context: PartContext) -> None:
    """Frames of THUMOS's clips in a second, decoded, augmented and on the device: by one process, and by all cores."""
    with tempfile.TemporaryDirectory() as name:
        _write_videos(Path(name), context)
        for workers in dict.fromkeys((0, os.cpu_count() or 1)):
            if context.rows and context.seconds_left < 1.5 * context.rows[-1]["seconds"]:
                return
            context.keep(_loaded(Path(name), context, workers=workers))


def _write_videos(folder: Path, context: PartContext) -> None:
    """One moving video under as many names as are wanted, each with an action."""
    steps, count, scale = context.sizes.decoded_steps, context.sizes.decoded_videos, context.sizes.decoded_scale
    (folder / "videos").mkdir()
    num_frames = 4 * steps + 40
    rng = np.random.default_rng(0)
    pictures = render(write_script(rng), num_frames=num_frames, rng=rng)
    first = folder / "videos/video_0.mp4"
    write_video(first, (picture.repeat(scale, 0).repeat(scale, 1) for picture in pictures), fps=FPS)
    seconds = num_frames / FPS
    entry = {"duration": seconds, "frame": num_frames, "subset": "training"}
    action: dict[str, Any] = {"segment": [0.1 * seconds, 0.9 * seconds], "label": "moving"}
    names = [first.stem, *(f"video_{number}" for number in range(1, count))]
    for name in names[1:]:
        os.link(first, first.with_stem(name))
    text = json.dumps({"database": {name: {**entry, "annotations": [action]} for name in names}})
    (folder / "annotations.json").write_text(text, encoding="utf-8")


def _loaded(folder: Path, context: PartContext, *, workers: int) -> Row:
    side = 64 * context.sizes.decoded_scale
    options = [
        f"data.annotations={folder / 'annotations.json'}",
        f"data.videos={folder / 'videos'}",
        "data.num_classes=1",
        "data.missing=()",
        f"data.sampling.num_steps={context.sizes.decoded_steps}",
        f"data.short_side_train={side}",
        f"data.crop_size=({side * 7 // 8},{side * 7 // 8})",
        f"training.num_workers={workers}",
        "training.batch_size=1",
    ]
    config = override(thumos(name="decoding", backbone=SwinConfig(reversible=True)), options)
    later = traits_of(context.device).changes_pixels
    annotations = annotations_of(config.data)
    clips = training_clips(config.data, config.augment, seed=0, annotations=annotations, changed_later=later)
    # A single process would take minutes for as many clips as all cores need.
    count = max(len(clips) // 8, 1) if workers == 0 else len(clips)
    processes = Processes(device=context.device)
    size = config.data.clip_bytes(channels=config.backbone.out_channels)
    loader = load_epochs(clips, config.training, processes=processes, clip_bytes=size)
    loader.set_epoch(0)
    done = 0

    def load() -> None:
        nonlocal done
        for batch, _ in zip(loader, range(count), strict=False):
            done += batch.ready_on(context.device).inputs.shape[2]

    seconds = elapsed(load, device=context.device, repeats=1)
    return {
        "loader_processes": workers,
        "video_pixels": side,
        "frames": done,
        "seconds": round(seconds, 3),
        "frames_per_second": round(done / seconds, 1),
        "mib_per_second": round(done * size / (2 * context.sizes.decoded_steps) / seconds / 2**20, 1),
    }
