"""From a checkpoint and video files to detections on disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.inference import load_trained
from re2tal.training import CheckpointError, Processes, RunFolder, load_checkpoint, save_checkpoint
from re2tal.video import probe
from tests.inference.conftest import ALONE, ONE_BY_ONE
from tests.video.videos import make_sound, make_video

ROOT = Path(__file__).parents[2]


def _results(path: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads(path.read_text())["results"]


def _without(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    """The checkpoint with entries replaced, or left out (None)."""
    content = {**load_checkpoint(checkpoint), **changes}
    path = folder / "changed.pth"
    save_checkpoint(path, {name: value for name, value in content.items() if value is not None})
    return path


@pytest.mark.parametrize(
    "options",
    [[], ["data.sampling={'kind': 'resize', 'num_steps': 16, 'frames_per_step': 2}"]],
    ids=["windows", "whole videos"],
)
def test_predicting_finds_what_testing_finds_to_the_last_bit(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, options: list[str]
) -> None:
    config = load_config(tiny, [ONE_BY_ONE, *options])
    tested = RunFolder(tmp_path / "tested")
    experiment.test(config, processes=ALONE, folder=tested, checkpoint=checkpoint)
    videos = [tiny.parent / f"videos/video{number}.mp4" for number in (4, 5)]
    arguments = ["--checkpoint", checkpoint, "--out", tmp_path / "out"]
    assert re2tal("predict", *videos, *arguments, "--cfg-options", ONE_BY_ONE, *options) == 0
    found = _results(tmp_path / "out/detections.json")
    assert found == _results(tested.path / "detections.json")
    assert all(len(rows) > 10 for rows in found.values())


def test_every_video_gets_its_files(re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = [tiny.parent / "videos", "--checkpoint", checkpoint, "--out", tmp_path, "--min-score", 0.012]
    assert re2tal("predict", *arguments, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["num_videos"], told["num_done_before"], told["skipped"]) == (6, 0, {})
    together = _results(tmp_path / "detections.json")
    assert list(together) == [f"video{number}" for number in range(6)]
    table = (tmp_path / "detections.csv").read_text().splitlines()
    assert told["num_detections"] == len(table) - 1 == sum(map(len, together.values())) > 0
    for video_id, rows in together.items():
        assert _results(tmp_path / f"videos/{video_id}.json") == {video_id: rows}
        assert (tmp_path / f"videos/{video_id}.csv").read_text().splitlines()[1:] == [
            line for line in table if line.startswith(f"{video_id},")
        ]
        subtitles = (tmp_path / f"videos/{video_id}.vtt").read_text()
        assert subtitles.startswith("WEBVTT\n") and subtitles.count("-->") == len(rows)
        assert all(row["score"] >= 0.012 and row["label"] in ("flash", "glow") for row in rows)


def test_people_are_shown_what_is_likely_and_programs_everything(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: Any
) -> None:
    video = tiny.parent / "videos/video4.mp4"
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path) == 0
    assert "0 detections with a score of 0.3 or more; the best has 0.0" in capsys.readouterr().out
    assert len((tmp_path / "detections.csv").read_text().splitlines()) == 1
    assert len(_results(tmp_path / "detections.json")["video4"]) > 10


def test_finished_videos_are_not_done_again(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for number in (4, 5):
        shutil.copy(tiny.parent / f"videos/video{number}.mp4", videos)
    predict = ["predict", videos, "--checkpoint", checkpoint, "--out", out, "--json"]
    assert re2tal(*predict) == 0
    before = _results(out / "detections.json")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("re2tal.inference.prediction.detect_in_video", _must_not_be_called)
        assert re2tal(*predict) == 0
        assert json.loads(capsys.readouterr().out)["num_done_before"] == 2
        assert _results(out / "detections.json") == before
        # Another lowest score needs no second look at the videos.
        assert re2tal(*predict, "--min-score", 0.012) == 0
        assert sum(map(len, _results(out / "detections.json").values())) < sum(map(len, before.values()))
    os.utime(videos / "video4.mp4", (1, 1))
    capsys.readouterr()
    assert re2tal(*predict) == 0
    assert json.loads(capsys.readouterr().out)["num_done_before"] == 1
    assert re2tal(*predict, "--cfg-options", "postprocess.nms.sigma=0.5") == 0
    assert json.loads(capsys.readouterr().out)["num_done_before"] == 0


def _must_not_be_called(*_: object, **__: object) -> None:
    raise AssertionError("a finished video was done again")


def test_broken_videos_are_listed_and_the_others_done(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: Any
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    good = shutil.copy(tiny.parent / "videos/video4.mp4", videos)
    (videos / "text.mp4").write_text("no video")
    (videos / "cut.mp4").write_bytes(Path(good).read_bytes()[:-2000])
    (videos / "empty.avi").touch()
    make_sound(videos / "sound.mp4")
    (videos / "gone.mp4").symlink_to(videos / "nowhere.mp4")
    predict = ["predict", videos, "--checkpoint", checkpoint, "--out", out]
    assert re2tal(*predict) == 3
    skipped = json.loads((out / "skipped.json").read_text())
    assert set(skipped) == {"text", "cut", "empty", "sound", "gone"}
    assert skipped["sound"]["file"] == str(videos / "sound.mp4") and "no video stream" in skipped["sound"]["reason"]
    assert set(_results(out / "detections.json")) == {"video4"}
    assert "5 videos that cannot be used" in capsys.readouterr().out
    assert "skipped text" in (out / "log.txt").read_text()
    for name in ("text.mp4", "cut.mp4", "empty.avi", "sound.mp4", "gone.mp4"):
        (videos / name).unlink()
    assert re2tal(*predict) == 0
    assert not (out / "skipped.json").exists()


def test_a_name_too_long_to_name_results_after_is_a_reason_to_skip(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path
) -> None:
    video = shutil.copy(tiny.parent / "videos/video4.mp4", tmp_path / f"{'é' * 120}.mp4")
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 3
    assert "has 240 bytes, more than 220" in (tmp_path / "out/skipped.json").read_text()


def test_a_video_that_breaks_in_the_middle_leaves_nothing_behind(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", num_frames=200, height=16, width=16)
    content = bytearray(video.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 300):  # inside the frames, behind the first window
        content[place] = 0xFF
    video.write_bytes(content)
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 3
    assert _results(tmp_path / "out/detections.json") == {}
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_videos_of_other_shapes_than_trained_on(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "wide.mkv", num_frames=40, height=48, width=130)
    make_video(videos / "portrait.mp4", num_frames=40, height=64, width=48, rotation=(90, False))
    make_video(videos / "short.mp4", num_frames=3)
    make_video(videos / "mpeg4.avi", num_frames=40, codec="mpeg4")
    make_video(videos / "slow.mp4", num_frames=20, times_ms=[170 * number for number in range(20)])
    out = tmp_path / "out"
    assert re2tal("predict", videos, "--checkpoint", checkpoint, "--out", out, "--min-score", 0) == 0
    found = _results(out / "detections.json")
    assert set(found) == {"wide", "portrait", "short", "mpeg4", "slow"}
    for path in videos.iterdir():
        duration = probe(path).duration_seconds
        assert found[path.stem]
        assert all(0 <= row["segment"][0] <= row["segment"][1] <= duration + 1e-3 for row in found[path.stem])


def test_a_crop_that_does_not_fit_upright_videos_is_a_reason_to_skip(
    re2tal: Any, checkpoint: Path, tmp_path: Path
) -> None:
    make_video(tmp_path / "upright.mp4", num_frames=40, height=64, width=48)
    options = ["--cfg-options", "data.crop_size=(16,20)"]
    video = tmp_path / "upright.mp4"
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "out", *options) == 3
    reason = json.loads((tmp_path / "out/skipped.json").read_text())["upright"]["reason"]
    assert "frames of 64 x 48 pixels (height x width) are resized to 21 x 16, which the crop of 16 x 20" in reason


def test_torchrun_shares_the_videos_out(tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    launch += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "-m", "re2tal", "predict"]
    (tmp_path / "videos").mkdir()
    for number in range(3):
        shutil.copy(tiny.parent / f"videos/video{number}.mp4", tmp_path / "videos")
    command = [*launch, tmp_path / "videos", "--checkpoint", checkpoint, "--out", tmp_path / "out", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert json.loads(done.stdout)["num_videos"] == 3  # one line, by one process
    assert list(_results(tmp_path / "out/detections.json")) == ["video0", "video1", "video2"]


def test_a_checkpoint_without_config_needs_one(re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    bare = _without(checkpoint, tmp_path, config=None)
    predict = ["predict", tiny.parent / "videos/video4.mp4", "--checkpoint", bare, "--out", tmp_path / "out"]
    assert "holds no config, only checkpoints of `re2tal train` do; give the config of its" in re2tal(*predict)
    assert re2tal(*predict, "--config", tiny) == 0
    assert _results(tmp_path / "out/detections.json")["video4"]


def test_weights_of_another_program_get_their_classes_from_a_list(tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    bare = _without(checkpoint, tmp_path, config=None, class_names=None)
    assert load_trained(bare, config=load_config(tiny)).class_names == ("flash", "glow")
    gone = f"data.annotations={tmp_path}/gone.json"
    with pytest.raises(CheckpointError, match="does not name its classes, .*--cfg-options data.classes=FILE"):
        load_trained(bare, config=load_config(tiny), options=[gone])
    (tmp_path / "classes.txt").write_text("on\noff\n")
    trained = load_trained(bare, config=load_config(tiny), options=[gone, f"data.classes={tmp_path}/classes.txt"])
    assert trained.class_names == ("on", "off")


def test_a_config_of_another_version_is_answered_clearly(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path
) -> None:
    config = json.loads(load_checkpoint(checkpoint)["config"])
    config["pyramid"]["spires"] = 3
    other = _without(checkpoint, tmp_path, config=json.dumps(config))
    answer = re2tal("predict", tiny.parent / "videos/video4.mp4", "--checkpoint", other, "--out", tmp_path / "out")
    assert "is not one of this version" in answer and "pyramid.spires" in answer and "by --config" in answer


def test_other_pixels_than_this_versions_are_refused(tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert load_checkpoint(checkpoint)["pixel_norm"]["mean"] == [123.675, 116.28, 103.53]
    other = _without(checkpoint, tmp_path, pixel_norm={"mean": [0.0] * 3, "std": [255.0] * 3})
    with pytest.raises(CheckpointError, match="was trained on pixels normalised with .*255"):
        load_trained(other)


def test_the_annotations_of_training_are_not_needed(re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    video = shutil.copy(tiny.parent / "videos/video4.mp4", tmp_path)
    content = load_checkpoint(checkpoint)
    config = content["config"].replace(str(tiny.parent), "/nowhere")
    moved = _without(checkpoint, tmp_path, config=config)
    assert re2tal("predict", video, "--checkpoint", moved, "--out", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--checkpoint": "gone.pth"}, "there is no checkpoint gone.pth"),
        ({"--device": "cuda"}, "there is no CUDA device"),
        ({"--classifier": "scores.json"}, "leave --classifier out"),
    ],
)
def test_wrong_options_are_answered_in_one_message(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    if "--device" in changes and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    options = {"--checkpoint": checkpoint, "--out": tmp_path / "out"} | changes
    answer = re2tal("predict", tiny.parent / "videos", *[part for pair in options.items() for part in pair])
    assert answer.startswith("error: ") and message in answer


@pytest.fixture(scope="module")
def agnostic(tiny: Path) -> Path:
    """A detector that says when, not what."""
    folder = RunFolder(tiny.parent / "agnostic")
    options = ["training.epochs=1", "training.warmup_epochs=0", "data.class_agnostic=True"]
    experiment.train(load_config(tiny, options), processes=Processes(), folder=folder, evaluate=False)
    return folder.epoch(0)


def test_a_class_agnostic_detector_says_that_its_labels_are_all_one(
    re2tal: Any, tiny: Path, agnostic: Path, tmp_path: Path, capsys: Any
) -> None:
    video = tiny.parent / "videos/video4.mp4"
    assert re2tal("predict", video, "--checkpoint", agnostic, "--out", tmp_path) == 0
    assert {row["label"] for row in _results(tmp_path / "detections.json")["video4"]} == {"action"}
    assert "every label is 'action'; --classifier FILE gives other labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "scores",
    [
        {"results": {"video4": [0.25, 0.5]}, "class": ["run", "jump"]},
        {"results": {"video4": [{"label": "jump", "score": 0.5}, {"label": "run", "score": 0.25}]}},
    ],
    ids=["cuhk", "submission"],
)
def test_a_classifier_names_what_a_class_agnostic_detector_finds(
    re2tal: Any, tiny: Path, agnostic: Path, tmp_path: Path, scores: Any
) -> None:
    video = tiny.parent / "videos/video4.mp4"
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    predict = ["predict", video, "--checkpoint", agnostic, "--classifier", tmp_path / "scores.json"]
    assert re2tal(*predict, "--out", tmp_path) == 0
    assert {row["label"] for row in _results(tmp_path / "detections.json")["video4"]} == {"run", "jump"}


def test_a_video_that_the_classifier_does_not_know_is_named_before_anything_is_done(
    re2tal: Any, tiny: Path, agnostic: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.json").write_text(json.dumps({"results": {"video4": [1, 0]}, "class": ["run", "jump"]}))
    predict = ["predict", tiny.parent / "videos", "--checkpoint", agnostic, "--out", tmp_path]
    assert "no class scores of 5 of 6 videos, such as 'video0'" in re2tal(
        *predict, "--classifier", tmp_path / "scores.json"
    )


def test_real_clips_of_any_make_are_predicted_on(re2tal: Any, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Odd sizes and frame rates, MPEG-4 in AVI, upright, six frames per second."""
    assert re2tal("predict", data / "videos/clips", "--checkpoint", checkpoint, "--out", tmp_path) == 0
    found = _results(tmp_path / "detections.json")
    paths = sorted((data / "videos/clips").iterdir())
    assert len(found) == len(paths) == 10
    for video_id, rows in found.items():
        (path,) = [path for path in paths if video_id in (path.stem, path.name)]
        assert rows and max(row["segment"][1] for row in rows) <= probe(path).duration_seconds + 1e-3
