"""Class-agnostic experiments, from video files to the metric: labelled by a classifier of whole videos, or not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.common.types import Detections
from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.detections import VideoScoresError
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder, load_checkpoint, logging_to
from tests.tiny_experiment import make_tiny_experiment

ALONE = Processes()
AGNOSTIC = "data.class_agnostic=True"
SCORES = {"video4": [0.5, 0.1], "video5": [0.2, 0.4]}


def _labelled(tiny: Path, folder: Path, *, scores: Any = None, names: Any = ("glow", "flash")) -> ExperimentConfig:
    path = folder / "scores.json"
    path.write_text(json.dumps({"results": scores or SCORES, "class": names}))
    return load_config(tiny, [AGNOSTIC, f"postprocess.video_labels={{'kind': 'cuhk', 'path': '{path}', 'top': 2}}"])


def _found(video_id: str) -> Detections:
    """Both actions of every video, found exactly."""
    return Detections(
        video_id=video_id,
        segments=torch.tensor([[0.5, 2.0], [3.0, 5.5]]),
        scores=torch.tensor([0.9, 0.8]),
        labels=torch.zeros(2, dtype=torch.int64),
    )


def test_a_labelled_run_writes_the_classifiers_labels_and_keeps_one_class(tiny: Path, tmp_path: Path) -> None:
    config = _labelled(tiny, tmp_path)
    folder = RunFolder(tmp_path / "run")
    with logging_to(folder.log):
        experiment.train(config, processes=ALONE, folder=folder)
        experiment.test(config, processes=ALONE, folder=folder)
    assert load_checkpoint(folder.best)["class_names"] == ["action"]
    results = json.loads((folder.path / "detections.json").read_text())["results"]
    assert {row["label"] for rows in results.values() for row in rows} == {"flash", "glow"}
    assert "average_mAP" in json.loads((folder.path / "metrics.json").read_text())


def test_labelled_detections_are_measured_by_their_labels(tiny: Path, tmp_path: Path) -> None:
    tester = experiment.Tester(_labelled(tiny, tmp_path), processes=ALONE)
    assert (tester.class_names, tester.detected_names) == (("action",), ("glow", "flash"))
    assert tester.video_labels is not None
    detections = [tester.video_labels.label(_found(video_id)) for video_id in SCORES]
    result = tester.measure(detections)
    # Of either class each video shows one action, and every segment is found under both labels.
    assert (result.num_actions, result.num_predictions) == (4, 8)
    assert 0 < result.average < 1


def test_unlabelled_detections_are_measured_as_actions_of_one_class(tiny: Path) -> None:
    tester = experiment.Tester(load_config(tiny, [AGNOSTIC]), processes=ALONE)
    assert tester.detected_names == ("action",)
    result = tester.measure([_found(video_id) for video_id in SCORES])
    assert set(result.per_class) == {"action"} and result.average == pytest.approx(1.0)


def test_test_videos_without_class_scores_are_named_before_a_run(tiny: Path, tmp_path: Path) -> None:
    config = _labelled(tiny, tmp_path, scores={"video4": [1, 0]})
    with pytest.raises(VideoScoresError, match="no class scores of 1 test videos: video5"):
        experiment.train(config, processes=ALONE, folder=RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_classes_written_otherwise_are_named_before_a_run(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoScoresError, match=r"annotated classes: glow \(is 'Glow' meant\?\)"):
        experiment.Tester(_labelled(tiny, tmp_path, names=("Glow", "flash")), processes=ALONE)


def test_blocked_videos_need_neither_file_nor_class_scores(tmp_path: Path) -> None:
    path = make_tiny_experiment(tmp_path)
    (tmp_path / "videos/video5.mp4").unlink()
    config = _labelled(path, tmp_path, scores={"video4": [1, 0]})
    blocked = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"blocked": ("video5",)})})
    tester = experiment.Tester(blocked, processes=ALONE)
    assert set(tester.clips.video_ids) == {"video4"}


def test_a_classifier_is_for_class_agnostic_detectors(tiny: Path) -> None:
    labels = "postprocess.video_labels={'kind': 'untrimmednet', 'path': 'scores.npy'}"
    with pytest.raises(ConfigError, match=r"got scores.npy with data.class_agnostic=False; set data.class_agnost"):
        load_config(tiny, [labels])
    with pytest.raises(ConfigError, match="would suppress each other where windows are merged; set .*per_class=True"):
        load_config(tiny, [labels, AGNOSTIC, "postprocess.nms.per_class=False"])
    assert load_config(tiny, [labels, AGNOSTIC]).postprocess.video_labels is not None
