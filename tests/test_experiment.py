"""From video files to a trained and tested detector."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import ExperimentConfig, building, load_config
from re2tal.evaluation import evaluate_files
from re2tal.experiments import experiment
from re2tal.reversible.devices import traits_of
from re2tal.training import CheckpointError, Processes, RunFolder, load_checkpoint, logging_to, parameter_groups
from re2tal.video import VideoError
from re2tal.video.pixel_ops import Changes
from re2tal.weights import WeightsError
from tests.tiny_experiment import make_tiny_experiment

ALONE = Processes()


@pytest.fixture(scope="module")
def run(tiny: Path) -> RunFolder:
    """A finished run."""
    config = load_config(tiny)
    folder = experiment.find_run(config, processes=ALONE)
    with logging_to(folder.log):
        experiment.train(config, processes=ALONE, folder=folder)
        experiment.test(config, processes=ALONE, folder=folder)
    return folder


def test_a_run_leaves_checkpoints_log_and_metrics(tiny: Path, run: RunFolder) -> None:
    assert run.path == tiny.parent / "exps/gpu1_id0"
    assert run.saved_epochs() == [0, 1]
    assert "tiny: 4 training videos, 2 classes" in run.log.read_text()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["step", "evaluation"] * 2
    assert lines[0]["reconstruction_error"] < 1e-4


def test_the_best_checkpoint_stands_alone(tiny: Path, run: RunFolder) -> None:
    best = load_checkpoint(run.best)
    config = ExperimentConfig.model_validate_json(best["config"])
    assert config == load_config(tiny)
    model = building.build_detector(config, num_classes=len(best["class_names"]))
    model.load_state_dict(best["weights"])
    assert best["class_names"] == ["flash", "glow"]


def test_written_detections_give_the_written_metrics(tiny: Path, run: RunFolder) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert set(metrics.pop("per_class")) == {"flash", "glow"}
    assert set(metrics) == {"average_mAP", *(f"mAP@{tiou}" for tiou in (0.3, 0.4, 0.5, 0.6, 0.7))}
    again = evaluate_files(
        tiny.parent / "annotations.json",
        run.path / "detections.json",
        subset="validation",
        tious=(0.3, 0.4, 0.5, 0.6, 0.7),
    )
    assert again.metrics == pytest.approx(metrics)
    assert list(json.loads((run.path / "detections.json").read_text())["results"]) == ["video4", "video5"]


def test_shared_testing_finds_what_one_process_finds(tiny: Path, run: RunFolder, monkeypatch: Any) -> None:
    config = load_config(tiny)
    model = building.build_detector(config, num_classes=2)
    model.load_state_dict(load_checkpoint(run.best)["weights"])
    whole = experiment.Tester(config, processes=ALONE).detect(model)
    parts: list[Any] = []
    for rank in range(3):  # the windows of one video fall to different processes
        monkeypatch.setattr(Processes, "gather", lambda self, items: parts.append(list(items)) or list(items))
        experiment.Tester(config, processes=Processes(rank=rank, world_size=3)).detect(model)
    windows = [window for part in parts[::2] for window in part]
    assert [window.video_id for window in windows] == ["video4", "video4", "video5", "video5"]
    gathered = Gathered(windows)
    monkeypatch.setattr(Processes, "gather", gathered)
    shared = []
    for rank in range(3):
        gathered.calls = 0
        shared += experiment.Tester(config, processes=Processes(rank=rank, world_size=3)).detect(model)
    assert [video.video_id for video in shared] == [video.video_id for video in whole]
    for first, second in zip(shared, whole, strict=True):
        torch.testing.assert_close(first.segments, second.segments, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(first.scores, second.scores, rtol=1e-3, atol=1e-4)


class Gathered:
    """Stands for the other processes: the first call gives all windows, the second what was handed in."""

    def __init__(self, windows: list[Any]) -> None:
        self.windows = windows
        self.calls = 0

    def __call__(self, items: list[Any]) -> list[Any]:
        self.calls += 1
        return self.windows if self.calls == 1 else list(items)


def test_resuming_from_pixels_equals_an_undisturbed_run(tiny: Path, run: RunFolder, tmp_path: Path) -> None:
    config = load_config(tiny)
    folder = RunFolder(tmp_path)
    experiment.train(config, processes=ALONE, folder=folder, resume=run.epoch(0), evaluate=False)
    undisturbed, resumed = (load_checkpoint(where.epoch(1)) for where in (run, folder))
    for name, value in undisturbed["training_weights"].items():
        assert torch.equal(value, resumed["training_weights"][name]), name


def test_where_pixels_are_changed_on_the_device_a_run_is_the_same_up_to_rounding(
    tiny: Path, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = []
    change = Changes.__call__
    monkeypatch.setattr(Changes, "__call__", lambda self, frames: changed.append(len(self.ops)) or change(self, frames))
    monkeypatch.setattr(experiment, "traits_of", lambda device: replace(traits_of(device), changes_pixels=True))
    folder = RunFolder(tmp_path)
    experiment.train(load_config(tiny), processes=ALONE, folder=folder, evaluate=False)
    assert len(changed) >= 4  # most clips, of which some are neither mirrored nor recoloured
    losses = [
        [line["loss"] for line in map(json.loads, where.metrics.read_text().splitlines()) if line["kind"] == "step"]
        for where in (run, folder)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_a_broken_training_video_is_listed_and_training_goes_on(tmp_path: Path, capsys: Any) -> None:
    path = make_tiny_experiment(tmp_path)
    (tmp_path / "videos/video1.mp4").write_bytes(b"no video")
    config = load_config(path, ["training.epochs=1", "training.warmup_epochs=0"])
    folder = experiment.find_run(config, processes=ALONE)
    with logging_to(folder.log):
        experiment.train(config, processes=ALONE, folder=folder, evaluate=False)
    log = folder.log.read_text()
    assert "training goes on without video video1: " in log
    assert "1 of 4 training videos are broken" in log


def test_too_many_broken_training_videos_stop_the_run(tmp_path: Path) -> None:
    path = make_tiny_experiment(tmp_path)
    for number in range(2):
        (tmp_path / f"videos/video{number}.mp4").write_bytes(b"no video")
    config = load_config(path)
    with pytest.raises(ValueError, match="2 of 4 training videos are broken, more than"):
        experiment.train(config, processes=ALONE, folder=RunFolder(tmp_path / "run"), evaluate=False)


def test_a_missing_video_is_named_before_training(tmp_path: Path) -> None:
    path = make_tiny_experiment(tmp_path)
    (tmp_path / "videos/video5.mp4").unlink()
    with pytest.raises(VideoError, match=r"video5\.mp4"):
        experiment.train(load_config(path), processes=ALONE, folder=RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_missing_annotations_are_named(tmp_path: Path, tiny: Path) -> None:
    config = load_config(tiny, [f"data.annotations={tmp_path}/gone.json"])
    with pytest.raises(ValueError, match=r"no annotation file at .*gone\.json; set data\.annotations"):
        experiment.train(config, processes=ALONE, folder=RunFolder(tmp_path / "run"))


def test_a_checkpoint_of_another_model_lists_names_and_shapes(tiny: Path, run: RunFolder, tmp_path: Path) -> None:
    config = load_config(tiny, ["pyramid.channels=4"])
    with pytest.raises(WeightsError, match=r"norm\.bias is \(8,\) in the file, \(4,\) in the model"):
        experiment.test(config, processes=ALONE, folder=RunFolder(tmp_path), checkpoint=run.best)


def test_detections_are_called_as_the_checkpoint_knows_them(tiny: Path, run: RunFolder, tmp_path: Path) -> None:
    found = []
    for text in ("flash\nglow\n", "glow\nflash\n"):
        (tmp_path / "classes.txt").write_text(text)
        config = load_config(tiny, [f"data.classes={tmp_path}/classes.txt"])
        experiment.test(config, processes=ALONE, folder=RunFolder(tmp_path / "run"), checkpoint=run.best)
        found.append((tmp_path / "run/detections.json").read_text())
    assert found[0] == found[1] and '"flash"' in found[0]


def test_data_may_lack_classes_of_the_checkpoint_and_have_no_others(tiny: Path, run: RunFolder, tmp_path: Path) -> None:
    annotations = load_config(tiny).data.annotations
    text = annotations.read_text()
    for name, other in (("lacks", "flash"), ("has", "wink")):
        (tmp_path / f"{name}.json").write_text(text.replace('"glow"', f'"{other}"'))
    result = experiment.test(
        load_config(tiny, [f"data.annotations={tmp_path}/lacks.json"]),
        processes=ALONE,
        folder=RunFolder(tmp_path / "run"),
        checkpoint=run.best,
    )
    assert result is not None and '"glow"' in (tmp_path / "run/detections.json").read_text()
    config = load_config(tiny, [f"data.annotations={tmp_path}/has.json"])
    with pytest.raises(CheckpointError, match=r"has the classes 'wink', which .* does not know; .* 'flash', 'glow'"):
        experiment.test(config, processes=ALONE, folder=RunFolder(tmp_path / "run"), checkpoint=run.best)


def test_without_a_best_checkpoint_the_existing_ones_are_named(tiny: Path, run: RunFolder) -> None:
    config = load_config(tiny)
    with pytest.raises(
        CheckpointError, match=r"(?s)there is no .*gpu1_id8.*--checkpoint .*gpu1_id0/checkpoint/best\.pth"
    ):
        experiment.test(config, processes=ALONE, folder=experiment.find_run(config, processes=ALONE, run_id=8))


def test_parameters_fall_into_the_published_groups(tiny: Path) -> None:
    config = load_config(tiny)
    model = building.build_detector(config, num_classes=2)
    groups = {group["name"]: group["params"] for group in parameter_groups(model, config=config.training)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = [names[id(parameter)] for parameter in groups["decay"]]
    kept = [names[id(parameter)] for parameter in groups["no_decay"]]
    assert all(name.endswith("weight") for name in decayed)
    untouched = (".norm", "_norm", ".ln", "scale")
    assert not any(part in name for name in decayed for part in untouched), decayed
    assert all(name.endswith("bias") or any(part in name for part in untouched) for name in kept), kept
    assert all(names[id(parameter)].startswith("backbone.") for parameter in groups["backbone"])
