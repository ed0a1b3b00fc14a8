"""Features on disk in place of pixels: the same clips, the same training, the same detections."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.data import FeaturesError, TestingSet, TrainingSet, collate, read_features
from re2tal.experiments import experiment
from re2tal.inference import load_backbone
from re2tal.training import RunFolder, load_checkpoint
from tests.inference.conftest import ALONE, ONE_BY_ONE

UNCHANGED = [
    "augment.crop=None",
    "augment.flip_probability=0",
    "augment.rand_augment.num_operations=0",
    "augment.jitter={'brightness': 0, 'contrast': 0, 'saturation': 0, 'hue': 0}",
]
"""No augmentation: features are of frames as they are."""

WHOLE = "data.sampling={'kind': 'resize', 'num_steps': 16, 'frames_per_step': 2}"


def _frozen(tiny: Path, checkpoint: Path, *options: str) -> ExperimentConfig:
    frozen = ["backbone.frozen=True", f"backbone.pretrained={checkpoint}", "training.epochs=2", ONE_BY_ONE]
    return load_config(tiny, [*frozen, *UNCHANGED, *options])


@pytest.fixture(scope="module")
def stored(tiny: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of all videos in windows."""
    return _extract(tiny, checkpoint, tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def stored_whole(tiny: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of all videos, each resized to one clip."""
    return _extract(tiny, checkpoint, tmp_path_factory.mktemp("whole"), WHOLE)


def _extract(tiny: Path, checkpoint: Path, folder: Path, *options: str) -> Path:
    from re2tal.inference import extract, videos_of_data

    config = _frozen(tiny, checkpoint, *options)
    videos = videos_of_data(config.data)
    extract(
        load_backbone(config, weights=checkpoint),
        videos.files,
        config=config,
        weights=checkpoint,
        out=folder,
        annotated=videos.annotated,
        processes=ALONE,
    )
    return folder


def _label_in_part(tiny: Path, folder: Path) -> Path:
    """Annotations of the same videos: one to train on shows nothing, and in others some is labelled."""
    content = json.loads((tiny.parent / "annotations.json").read_text())
    content["database"]["video0"]["annotations"] = []
    for name in ("video1", "video2", "video4"):
        content["database"][name]["labelled"] = [[0.0, 2.5]]
    path = folder / "in_part.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("options", [[], [WHOLE]], ids=["windows", "whole videos"])
def test_a_stored_clip_is_what_the_backbone_makes_of_its_pixels(
    tiny: Path, checkpoint: Path, stored: Path, stored_whole: Path, options: list[str]
) -> None:
    folder = stored_whole if options else stored
    pixels = TestingSet(_frozen(tiny, checkpoint, *options).data)
    features = TestingSet(_frozen(tiny, checkpoint, *options, f"data.features={folder}").data)
    backbone = load_backbone(_frozen(tiny, checkpoint), weights=checkpoint)
    assert len(pixels) == len(features) == (2 if options else 4)
    for clip, made in zip(pixels, features, strict=True):
        assert torch.equal(made.features, backbone(collate([clip]).frames, 16)[0])
        assert torch.equal(clip.mask, made.mask) and clip.grid == made.grid and clip.video_id == made.video_id


@pytest.mark.parametrize("partly", [False, True], ids=["labelled", "in part"])
@pytest.mark.parametrize(
    "options", [["data.sampling.train_starts=test"], [WHOLE]], ids=["windows of testing", "whole videos"]
)
def test_training_from_features_is_training_a_frozen_backbone_from_pixels_to_the_last_bit(
    tiny: Path, checkpoint: Path, stored: Path, stored_whole: Path, tmp_path: Path, options: list[str], partly: bool
) -> None:
    if partly:
        options = [*options, f"data.annotations={_label_in_part(tiny, tmp_path)}", "data.negative_share=0.4"]
    features = f"data.features={stored_whole if WHOLE in options else stored}"
    runs = []
    for name, more in (("pixels", options), ("features", [*options, features])):
        folder = RunFolder(tmp_path / name)
        experiment.train(_frozen(tiny, checkpoint, *more), processes=ALONE, folder=folder)
        runs.append(folder)
    records = [[json.loads(line) for line in run.metrics.read_text().splitlines()] for run in runs]
    pixels, made = ([{**record, "clips_per_second": 0} for record in part] for part in records)
    assert pixels == made and {record["kind"] for record in made} == {"step", "evaluation"}
    weights = [load_checkpoint(run.epoch(1))["weights"] for run in runs]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_whole_videos_are_put_together_from_stored_windows_as_from_pixels(
    re2tal: Any, tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path
) -> None:
    found = {}
    for name, options in (
        ("pixels", ["data.test_whole=True"]),
        ("features", ["data.test_whole=True", f"data.features={stored}"]),
        ("windows", [f"data.features={stored}"]),
    ):
        work = ["work_dir=" + str(tmp_path / name), "backbone.frozen=True", f"backbone.pretrained={checkpoint}"]
        given = (
            tiny,
            "--checkpoint",
            checkpoint,
            "--device",
            "cpu",
            "--cfg-options",
            *work,
            ONE_BY_ONE,
            *UNCHANGED,
            *options,
        )
        assert re2tal("test", *given) == 0
        (path,) = (tmp_path / name).rglob("detections.json")
        found[name] = json.loads(path.read_text())["results"]
    assert found["pixels"] == found["features"] != found["windows"]


def test_a_checkpoint_trained_from_features_holds_the_backbone_and_predicts_on_pixels(
    re2tal: Any, tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path
) -> None:
    config = _frozen(tiny, checkpoint, f"data.features={stored}")
    run = RunFolder(tmp_path / "run")
    experiment.train(config, processes=ALONE, folder=run)
    trained, before = load_checkpoint(run.best)["weights"], load_checkpoint(checkpoint)["weights"]
    kept = [name for name in before if name.startswith("backbone.")]
    assert kept and all(torch.equal(trained[name], before[name]) for name in kept)
    assert any(not torch.equal(trained[name], before[name]) for name in before if name not in kept)
    experiment.test(config, processes=ALONE, folder=run)
    video = tiny.parent / "videos/video4.mp4"
    assert re2tal("predict", video, "--checkpoint", run.best, "--out", tmp_path / "out") == 0
    found = [json.loads((folder / "detections.json").read_text())["results"] for folder in (run.path, tmp_path / "out")]
    assert found[0]["video4"] == found[1]["video4"]


def test_a_frozen_backbone_does_not_change_in_training(tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ["backbone.freeze_norms=False", "training.epochs=1", "training.warmup_epochs=0"]
    folder = RunFolder(tmp_path)
    experiment.train(_frozen(tiny, checkpoint, *options), processes=ALONE, folder=folder, evaluate=False)
    before, after = load_checkpoint(checkpoint)["weights"], load_checkpoint(folder.epoch(0))["training_weights"]
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))


def test_the_command_stores_the_videos_of_a_config_and_goes_on_where_it_stopped(
    re2tal: Any, tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path, capsys: Any
) -> None:
    extract = ["extract", tiny, "--out", tmp_path, "--json", "--cfg-options"]
    extract += [f"backbone.pretrained={checkpoint}", ONE_BY_ONE]
    assert re2tal(*extract) == 0
    assert json.loads(capsys.readouterr().out)["num_done_before"] == 0
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [f"video{n}.safetensors" for n in range(6)]
    for name in ("video0", "video5"):
        with (
            safe_open(tmp_path / f"{name}.safetensors", "pt") as ours,
            safe_open(stored / f"{name}.safetensors", "pt") as other,
        ):
            assert torch.equal(ours.get_tensor("features"), other.get_tensor("features"))
    (tmp_path / "video3.safetensors").unlink()
    (tmp_path / "video4.safetensors").write_bytes(b"cut off")
    assert re2tal(*extract) == 0
    assert json.loads(capsys.readouterr().out)["num_done_before"] == 4
    assert re2tal(*extract, "data.short_side_test=20") == 0
    assert json.loads(capsys.readouterr().out)["num_done_before"] == 0


def test_the_command_takes_a_checkpoint_and_videos(re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/good.mp4").symlink_to(tiny.parent / "videos/video1.mp4")
    (tmp_path / "videos/bad.mp4").write_text("no video")
    assert re2tal("extract", tmp_path / "videos", "--checkpoint", checkpoint, "--out", tmp_path / "out") == 3
    assert list(json.loads((tmp_path / "out/skipped.json").read_text())) == ["bad"]
    found = read_features(tmp_path / "out/good.safetensors")
    # 48 frames at 8 per second, two frames a step: windows of 16 steps at 0 and 8.
    assert (found.num_frames, found.num_steps, found.starts) == (48, 24, (0, 8))
    assert (found.duration_seconds, found.seconds_per_step, found.about["stride"]) == (6.0, 0.25, 2)
    assert re.fullmatch("[0-9a-f]{64}", found.about["weights_sha256"])
    assert found.about["config"]["name"] == "tiny" and found.about["weights"] == str(checkpoint)


def test_one_row_per_step_comes_from_the_window_in_whose_middle_it_lies(stored: Path) -> None:
    features = read_features(stored / "video0.safetensors")
    whole = features.whole()
    first, second = (features.window(start).numpy().T for start in features.starts)
    assert whole.shape == (24, first.shape[1])
    # Windows 0-16 and 8-24 have their middles at 8 and 16, and what is nearer to the first ends at 12.
    assert np.array_equal(whole, np.concatenate([first[:12], second[4:]]))


def test_features_of_other_weights_are_refused(tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path) -> None:
    config = _frozen(tiny, checkpoint, f"data.features={stored}")
    other = RunFolder(tmp_path / "other")
    experiment.train(
        load_config(tiny, ["training.epochs=1", "training.warmup_epochs=0", "training.seed=3"]),
        processes=ALONE,
        folder=other,
        evaluate=False,
    )
    changed = config.model_copy(update={"backbone": config.backbone.model_copy(update={"pretrained": other.epoch(0)})})
    with pytest.raises(FeaturesError, match="was extracted with other weights, those of .*best.pth; set"):
        experiment.train(changed, processes=ALONE, folder=RunFolder(tmp_path / "run"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.short_side_test=20", "short_side is 16 there, 20 here"),
        ("data.sampling.frame_stride=2", "sampling.frame_stride is 1 there, 2 here"),
        ("data.sampling.test_overlap=0.25", "sampling.test_overlap is 0.5 there, 0.25 here"),
        ("data.video_pattern=v_{id}.mp4", "videos have no features in data.features, such as .*v_video4.safetensors"),
    ],
)
def test_features_of_other_clips_are_refused(
    tiny: Path, checkpoint: Path, stored: Path, option: str, message: str
) -> None:
    with pytest.raises(FeaturesError, match=message):
        TestingSet(_frozen(tiny, checkpoint, f"data.features={stored}", option).data)


def test_features_of_another_number_of_frames_are_refused(
    tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path
) -> None:
    annotations = json.loads((tiny.parent / "annotations.json").read_text())
    annotations["database"]["video4"]["frame"] = 44
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    options = [f"data.features={stored}", f"data.annotations={tmp_path}/annotations.json"]
    with pytest.raises(FeaturesError, match="no clip that begins with step 6, which the annotated number of frames"):
        TestingSet(_frozen(tiny, checkpoint, *options).data)


def test_check_data_looks_at_features_where_a_run_reads_them(
    re2tal: Any, tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path, capsys: Any
) -> None:
    for path in stored.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    check = ["check-data", tiny, "--json", "--cfg-options", "backbone.frozen=True"]
    check += [f"backbone.pretrained={checkpoint}", f"data.features={tmp_path}", f"data.videos={tmp_path}/gone"]
    assert re2tal(*check) == 0
    (tmp_path / "video5.safetensors").unlink()
    (tmp_path / "video4.safetensors").write_bytes(b"cut off")
    capsys.readouterr()
    assert re2tal(*check) == 1
    assert json.loads(capsys.readouterr().out)["num_errors"] == 2


def test_features_of_another_network_are_refused(tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path) -> None:
    config = _frozen(tiny, checkpoint, f"data.features={stored}", "backbone.reversible=False")
    with pytest.raises(FeaturesError, match="with another backbone: reversible is True there, False here"):
        experiment.train(config, processes=ALONE, folder=RunFolder(tmp_path))


def test_a_damaged_file_of_features_is_named(tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path) -> None:
    for path in stored.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "video4.safetensors").write_bytes((stored / "video4.safetensors").read_bytes()[:-8])
    with pytest.raises(FeaturesError, match="video4.safetensors cannot be read .*; delete it and extract again"):
        TestingSet(_frozen(tiny, checkpoint, f"data.features={tmp_path}").data)


def test_what_cannot_be_frozen_is_refused(tiny: Path, checkpoint: Path, stored: Path) -> None:
    with pytest.raises(ConfigError, match="set backbone.frozen=True and backbone.pretrained to its weights"):
        load_config(tiny, [f"data.features={stored}"])
    with pytest.raises(ConfigError, match="pretrained=None means random ones; set backbone.pretrained"):
        load_config(tiny, ["backbone.frozen=True"])


def test_features_need_weights(re2tal: Any, tiny: Path, tmp_path: Path) -> None:
    assert "give a --checkpoint, or set backbone.pretrained" in re2tal("extract", tiny, "--out", tmp_path)
    assert "whose features?" in re2tal("extract", tiny.parent / "videos", "--out", tmp_path)


def test_training_set_reads_features_without_videos(tiny: Path, checkpoint: Path, stored: Path, tmp_path: Path) -> None:
    config = _frozen(tiny, checkpoint, f"data.features={stored}", f"data.videos={tmp_path}/gone")
    clips = TrainingSet(config.data, config.augment)
    clips.set_epoch(0)
    assert [clip.features.shape for clip in clips] == [(48, 16)] * 4
    assert all(len(clip.segments) for clip in clips)
