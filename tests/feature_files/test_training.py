"""Runs on features of others: they learn, resume where they should, and every command tells what it needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.config import ExperimentConfig, load_config, read_json_config
from re2tal.config.building import build_detector, describe
from tests.feature_files.packages import make_videos, write_package

CONFIGS = Path(__file__).parents[2] / "configs/features"
PUBLISHED = sorted(path.stem for path in CONFIGS.glob("actionformer_*.py"))

SMALL = """
from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

HERE = Path(__file__).parent

config = features_of_others(
    name="small",
    data=FeatureDataConfig(
        annotations=HERE / "annotations.json",
        files=(FeatureFiles(path=HERE / "rgb", channels=6), FeatureFiles(path=HERE / "flow.h5", channels=6)),
        stride=4,
        offset=8,
        frame_rate=20,
        sampling=WindowSampling(num_steps=64, min_inside=0.5),
    ),
    pyramid=PyramidConfig(
        channels=32, num_heads=2, arch=(1, 1, 3), attention_window=(7, 7, 7, None), max_steps=64, dropout=0.05
    ),
    head=HeadConfig(num_convs=1, center_radius=4.0, first_reach=8.0, range_overlap=2.0, initial_normalizer=20.0),
    postprocess=PostprocessConfig(),
    training=TrainingConfig(
        epochs=12, batch_size=4, learning_rate=4e-3, warmup_epochs=1, ema_decay=0.9, eval_from=11, num_workers=0
    ),
    tious=(0.3, 0.5, 0.7),
).model_copy(update={"work_dir": HERE / "exps"})
"""
Command = Callable[..., int]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A config of two streams, one in a folder, one in an archive."""
    _, features = make_videos(tmp_path, count=34)
    write_package(tmp_path / "rgb", "npy", features)
    written = write_package(tmp_path / "more", "one h5 of groups", features)
    written.path.rename(tmp_path / "flow.h5")
    path = tmp_path / "small.py"
    path.write_text(SMALL.replace('"flow.h5", channels=6', '"flow.h5", channels=6, key="v_{id}/c3d_features"'))
    return path


def test_a_run_learns_and_its_test_and_report_follow(
    small: Path, re2tal: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    recall = ["evaluation.recall_multiples=(1,)", "evaluation.average_recall_at=(10,)"]
    assert re2tal("check-data", small) == 0
    assert re2tal("explain", small) == 0
    assert "20" in capsys.readouterr().out
    assert re2tal("train", small) == 0
    assert re2tal("test", small, "--cfg-options", *recall) == 0
    run = small.parent / "exps/gpu1_id0"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["mAP@0.5"] > 0.8 and metrics["recall@1x@0.5"] > 0.8 and metrics["AR@10"] > 0.5
    assert set(metrics["per_class"]) == {"run", "sit"}
    assert set(metrics["per_class_recall"]["1x"]) == {"run", "sit"}
    detections = (run / "detections.json").read_text()
    assert re2tal("test", small, "--cfg-options", "data.test_whole=True") == 0
    whole = json.loads((run / "metrics.json").read_text())
    assert whole["mAP@0.5"] > 0.8 and (run / "detections.json").read_text() != detections
    assert re2tal("report", run, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["mAP@0.5"] == whole["mAP@0.5"]
    assert re2tal("predict", small.parent / "rgb", "--checkpoint", run / "checkpoint/best.pth") != 0


def test_check_data_lists_what_cannot_be_used(
    small: Path, re2tal: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rgb/video_3.npy").unlink()
    np.save(tmp_path / "rgb/video_4.npy", np.zeros((3, 5)))
    np.save(tmp_path / "rgb/video_5.npy", np.full((120, 6), np.nan))
    np.save(tmp_path / "rgb/video_6.npy", np.zeros((60, 6)))
    missing = tmp_path / "missing.txt"
    assert (
        re2tal("check-data", small, "--decode", "all", "--missing", missing, "--list", tmp_path / "findings.jsonl") == 1
    )
    listed = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines()]
    told = {item["video"]: item for item in listed if item["video"] is not None}
    assert told["video_3"]["what"] == "file absent"
    assert "got (3, 5)" in told["video_4"]["detail"] and "NaN" in told["video_5"]["detail"]
    assert "equally long" in told["video_6"]["detail"]
    assert (told["video_4"]["what"], told["video_5"]["severity"]) == ("unusable features", "warning")
    assert missing.read_text().split() == ["video_3", "video_4", "video_5", "video_6"]
    assert re2tal("check-data", small, "--cfg-options", f"data.missing={missing}") == 0
    assert re2tal("check-data", small, "--cfg-options", f"data.missing={missing}", "data.stride=16") == 1
    assert "stride or frame rate" in capsys.readouterr().out


def test_a_broken_file_is_left_out_of_training(small: Path, re2tal: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "rgb/video_5.npy", np.full((120, 6), np.nan))
    options = ["training.epochs=1", "training.warmup_epochs=0", "training.eval_from=0"]
    assert re2tal("train", small, "--not_eval", "--cfg-options", *options) == 0
    assert "training goes on without video video_5" in (tmp_path / "exps/gpu1_id0/log.txt").read_text()


def test_backbone_and_data_must_agree(small: Path) -> None:
    with pytest.raises(ValueError, match=r"must be the channels of all data.files together, \[6, 6\], got 7; write 12"):
        load_config(small, ["backbone.out_channels=7"])
    with pytest.raises(ValueError, match="go with backbone.kind=precomputed"):
        load_config(
            Path(__file__).parents[2] / "configs/demo/re2slowfast.py",
            ["backbone={'kind':'precomputed','out_channels':3}"],
        )
    with pytest.raises(ValueError, match="has no weights, got reversible"):
        load_config(small, ["backbone.reversible=True"])


def test_configs_of_earlier_versions_are_of_videos() -> None:
    config = load_config(Path(__file__).parents[2] / "configs/demo/re2slowfast.py")
    values = config.model_dump(mode="json")
    del values["data"]["kind"]
    assert read_json_config(json.dumps(values), source="checkpoint") == config


def test_a_config_survives_being_written(small: Path) -> None:
    config = load_config(small)
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


def published(name: str) -> ExperimentConfig:
    return load_config(CONFIGS / f"{name}.py")


@pytest.mark.parametrize(
    ("name", "pyramid", "parameters"),
    # Counted layer by layer for 2048 channels and 20 classes.
    [("tridet_thumos_i3d", "sgp", 15_989_604), ("temporalmaxer_thumos_i3d", "max_pool", 7_123_996)],
)
def test_other_detectors_take_the_features_of_actionformer(name: str, pyramid: str, parameters: int) -> None:
    config, actionformer = published(name), published("actionformer_thumos_i3d")
    assert (config.data, config.pyramid.kind) == (actionformer.data, pyramid)
    with torch.device("meta"):
        detector = build_detector(config, num_classes=20)
    assert sum(parameter.numel() for parameter in detector.parameters()) == parameters


def test_all_eight_data_sets_have_a_config() -> None:
    named = {name.split("_")[1] for name in PUBLISHED}
    assert named == {"thumos", "anet", "epic", "ego4d", "multithumos", "charades", "fineaction", "hacs"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # (channels, stride, offset, rate, steps, levels, width, classes, epochs, batch, rate of learning, sigma)
        ("actionformer_thumos_i3d", (2048, 4, 8, None, 2304, 6, 512, 20, 35, 2, 1e-4, 0.5)),
        ("actionformer_multithumos_i3d", (2048, 4, 8, None, 2304, 6, 512, 65, 45, 2, 1e-4, 0.5)),
        ("actionformer_anet_tsp", (512, 16, 8, 15, 192, 6, 256, None, 15, 16, 1e-3, 0.75)),
        ("actionformer_epic_slowfast_verb", (2304, 16, 16, 30, 2304, 6, 512, 97, 20, 2, 1e-4, 0.4)),
        ("actionformer_epic_slowfast_noun", (2304, 16, 16, 30, 2304, 6, 512, 293, 20, 2, 1e-4, 0.4)),
        ("actionformer_ego4d_slowfast", (2304, 16, 16, None, 1024, 9, 512, 110, 20, 2, 1e-4, 2.0)),
        ("actionformer_ego4d_egovlp", (256, 16, 8, None, 1024, 9, 384, 110, 20, 2, 1e-4, 2.0)),
        ("actionformer_ego4d_internvideo", (1024, 8, 4, None, 2048, 10, 512, 110, 20, 2, 1e-4, 2.0)),
        ("actionformer_charades_i3d_rgb", (1024, 8, 0, 24, 768, 7, 512, 157, 15, 16, 1e-4, 0.3)),
        ("actionformer_charades_videomae_l", (1024, 4, 2, 30, 512, 8, 512, 157, 20, 16, 1e-4, 0.3)),
        ("actionformer_fineaction_videomae_h", (1280, 16, 8, None, 192, 6, 256, None, 20, 16, 1e-3, 0.75)),
        ("actionformer_fineaction_videomaev2_g", (1408, 16, 8, None, 192, 6, 256, None, 15, 16, 1e-3, 0.75)),
        ("actionformer_hacs_slowfast", (2304, 8, 16, 15, 960, 6, 256, None, 15, 16, 1e-3, 0.75)),
    ],
)
def test_settings_are_the_published_ones(name: str, values: tuple[Any, ...]) -> None:
    config = published(name)
    data, training = config.data, config.training
    assert (
        config.backbone.out_channels,
        data.stride,
        data.offset,
        data.frame_rate,
        data.sampling.num_steps,
        len(config.pyramid.strides),
        config.pyramid.channels,
        None if data.class_agnostic else data.num_classes,
        training.epochs,
        training.batch_size,
        training.learning_rate,
        config.postprocess.nms.sigma,
    ) == values
    assert (config.postprocess.video_labels is not None) == data.class_agnostic
    assert config.work_dir == Path("exps/features") / config.name == Path("exps/features") / name


def test_every_published_config_is_checked() -> None:
    (marks,) = [mark for mark in test_settings_are_the_published_ones.pytestmark if mark.name == "parametrize"]
    assert {name for name, _ in marks.args[1]} == set(PUBLISHED)


def test_regression_ranges_that_overlap_are_those_of_the_published_config() -> None:
    config = published("actionformer_epic_slowfast_verb")
    ranges = config.head.regression_ranges(config.pyramid.strides)
    assert ranges == [(0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, None)]


def test_the_detector_of_thumos_has_the_size_of_the_published_one() -> None:
    """29.25 M parameters: "29.3 M" in the paper (Zhang et al., ECCV 2022, table 5)."""
    assert describe(published("actionformer_thumos_i3d"))["parameters"] == {"backbone": 0, "detector": 29_251_612}
