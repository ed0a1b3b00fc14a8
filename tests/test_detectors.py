"""Heads and pyramids of the package beside ActionFormer's: in experiments, by the commands, and on made-up features."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from re2tal.common.segments import segment_iou
from re2tal.common.types import FeatureBatch, TimeGrid
from re2tal.config import ConfigError, load_config, override, read_json_config
from re2tal.config.building import describe
from re2tal.experiments.explain import times_of
from re2tal.inference import load_trained
from re2tal.networks.detector import Detector
from re2tal.networks.heads import HeadConfig, HeadSettings, TridentHeadConfig
from re2tal.networks.pyramid import MaxPoolPyramidConfig, PyramidConfig, PyramidSettings, SgpPyramidConfig
from re2tal.video import write_video
from tests.tiny_experiment import make_tiny_experiment

CONFIGS = Path(__file__).parents[1] / "configs"
SGP = "pyramid={'kind':'sgp','channels':16,'arch':(1,1,2),'window':3,'mlp_channels':16}"
MAX_POOL = "pyramid={'kind':'max_pool','channels':8,'arch':(1,2)}"
TRIDENT = "head={'kind':'trident','num_bins':8,'num_convs':1}"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_experiment(tmp_path)


@pytest.mark.parametrize("parts", [(SGP, TRIDENT), (MAX_POOL,)], ids=["tridet", "temporalmaxer"])
def test_it_is_planned_explained_trained_tested_reported_and_predicts(
    re2tal: Any, tiny: Path, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    options = ("--cfg-options", *parts)
    assert re2tal("plan", tiny, "--quick", "--json", *options) == 0
    assert re2tal("explain", tiny, *options) == 0
    assert re2tal("train", tiny, *options) == 0
    assert re2tal("test", tiny, *options) == 0
    run = tmp_path / "exps/gpu1_id0"
    assert re2tal("report", run) == 0 and "glow" in (run / "report.html").read_text()
    checkpoint = run / "checkpoint/best.pth"
    trained = load_trained(checkpoint)
    assert trained.config == load_config(tiny, parts)
    video = tmp_path / "video.mp4"
    write_video(video, np.zeros((40, 16, 24, 3), np.uint8), fps=8)
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "found", "--device", "cpu") == 0
    options = (*options, f"training.start_from={checkpoint}", "training.epochs=1", "training.warmup_epochs=0")
    assert re2tal("train", tiny, "--id", 1, *options) == 0


def test_explain_tells_how_far_the_bins_reach(tiny: Path) -> None:
    levels = times_of(load_config(tiny, [TRIDENT])).levels
    assert [level.reach_steps for level in levels] == [(0, 4), (4, 8), (8, 32)]


def test_the_command_line_replaces_a_kind_and_its_settings(tiny: Path) -> None:
    config = load_config(tiny, [TRIDENT, "head.num_bins=6", SGP, "pyramid.channels=32"])
    assert config.head == TridentHeadConfig(num_bins=6, num_convs=1)
    assert isinstance(config.pyramid, SgpPyramidConfig) and config.pyramid.channels == 32
    assert override(config, ["head.kind=trident"]) == config
    other = override(config, ["pyramid.kind=max_pool", "head.kind=actionformer", "pyramid.channels=8"])
    assert (other.pyramid, other.head) == (MaxPoolPyramidConfig(channels=8), HeadConfig())
    given = override(other, ["head={'kind':'trident'}", "head.num_bins=9"])
    assert given.head == TridentHeadConfig(num_bins=9)
    with pytest.raises(ConfigError, match="'tridnet' .* expected tags: 'actionformer', 'trident'"):
        override(config, ["head.kind=tridnet"])
    with pytest.raises(ConfigError, match="there is no setting 'pyramid.num_bins'"):
        override(config, ["pyramid.kind=max_pool", "pyramid.num_bins=8"])
    assert read_json_config(config.model_dump_json(), source="best.pth") == config


def test_configs_from_when_there_was_one_of_each_load(tiny: Path) -> None:
    config = load_config(tiny, ["pyramid.channels=16", "head.num_convs=1"])
    values = config.model_dump(mode="json")
    assert (values["pyramid"].pop("kind"), values["head"].pop("kind")) == ("actionformer", "actionformer")
    assert read_json_config(json.dumps(values), source="best.pth") == config


@pytest.mark.parametrize(("name", "parts"), [("tridet", {"pyramid", "head"}), ("temporalmaxer", {"pyramid"})])
def test_the_demo_configs_differ_in_pyramid_and_head_alone(name: str, parts: set[str]) -> None:
    config, reference = (load_config(CONFIGS / f"demo/{stem}.py").model_dump() for stem in (name, "re2slowfast"))
    assert {key for key in config if config[key] != reference[key]} == {"name", "work_dir", *parts}
    same = set(reference["head"]) - {"kind"}
    assert {key: config["head"][key] for key in same} == {key: reference["head"][key] for key in same}


@pytest.mark.parametrize(
    ("name", "parameters"), [("tridet", 14_023_524), ("temporalmaxer", 5_157_916), ("actionformer", 27_285_532)]
)
def test_sizes_on_thumos(name: str, parameters: int) -> None:
    folder = CONFIGS / ("re2tal" if name == "actionformer" else "detectors")
    config = load_config(folder / f"e2e_thumos_re2tal_{name}_swin_tiny.py")
    assert describe(config)["parameters"]["detector"] == parameters


def test_the_page_tells_how_large_they_are() -> None:
    page = (CONFIGS.parent / "docs/extending.md").read_text()
    told = {kind: float(size) for kind, size in re.findall(r"^\|[^|]+\| `(\w+)` \|.*\((\d+\.\d) M", page, re.MULTILINE)}
    with torch.device("meta"):
        pyramids = [kind().build(in_channels=768) for kind in (PyramidConfig, SgpPyramidConfig, MaxPoolPyramidConfig)]
        heads = [
            kind().build(in_channels=512, num_classes=20, strides=PyramidConfig().strides)
            for kind in (HeadConfig, TridentHeadConfig)
        ]
    sizes = [round(sum(p.numel() for p in module.parameters()) / 1e6, 1) for module in (*pyramids, *heads)]
    assert list(told.values()) == sizes and len(told) == 5


# Made-up features: a channel for each class, which rises while an action lasts, in noise.
STEPS, CLASSES = 48, 3


def clips(count: int, generator: torch.Generator) -> FeatureBatch:
    features, segments, labels = torch.randn(count, 6, STEPS, generator=generator) / 2, [], []
    for clip in features:
        lengths, gaps = (torch.randint(low, high, (2,), generator=generator) for low, high in ((4, 15), (1, 8)))
        starts = torch.stack((gaps[0], gaps[0] + lengths[0] + gaps[1]))
        kinds = torch.randint(0, CLASSES, (2,), generator=generator)
        for start, length, kind in zip(starts, lengths, kinds, strict=True):
            clip[kind, start : start + length] += 2
        segments.append(torch.stack((starts, starts + lengths), dim=1) - 0.5)
        labels.append(kinds)
    return FeatureBatch(
        features=features,
        video_ids=("made up",) * count,
        mask=torch.ones(count, STEPS, dtype=torch.bool),
        grids=(TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=STEPS),) * count,
        segments=tuple(segments),
        labels=tuple(labels),
    )


def mean_tiou(model: Detector, batch: FeatureBatch) -> float:
    """Of every action with the segment that scores highest for its class, among those whose middle lies inside it."""
    tious = []
    for found, segments, labels in zip(model.eval()(batch), batch.segments, batch.labels, strict=True):
        middles = found.segments.mean(1)
        for segment, label in zip(segments, labels, strict=True):
            inside = (middles > segment[0]) & (middles < segment[1])
            best = found.scores[:, label].masked_fill(~inside, -1).argmax()
            tious.append(segment_iou(segment[None], found.segments[best][None]).item())
    return sum(tious) / len(tious)


@pytest.mark.parametrize(
    ("pyramid", "head"),
    [
        (SgpPyramidConfig(channels=32, arch=(1, 1, 3), mlp_channels=64), TridentHeadConfig(num_convs=1)),
        (MaxPoolPyramidConfig(channels=32, arch=(1, 3)), HeadConfig(num_convs=1)),
        (PyramidConfig(channels=32, arch=(1, 1, 3), max_steps=STEPS), TridentHeadConfig(num_convs=1)),
    ],
    ids=["tridet", "temporalmaxer", "trident head alone"],
)
def test_it_learns_to_find_actions_in_features_that_it_has_not_seen(
    pyramid: PyramidSettings, head: HeadSettings
) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    built: Any = pyramid.build(in_channels=6)
    points: Any = head.model_copy(update={"initial_normalizer": 30.0}).build(
        in_channels=32, num_classes=CLASSES, strides=built.strides
    )
    model = Detector(nn.Identity(), pyramid=built, head=points)
    unseen = clips(24, torch.Generator().manual_seed(1))
    before = mean_tiou(model, unseen)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(clips(8, generator))["loss"].backward()
        optimizer.step()
    after = mean_tiou(model, unseen)
    assert before < 0.5 and after > 0.7, (before, after)
