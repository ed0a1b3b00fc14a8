"""What users see of bad videos: training goes on without them, check-data and predict list them, with the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder, logging_to
from tests.tiny_experiment import make_tiny_experiment
from tests.video.test_broken_files import packets_of
from tests.video.test_limits import PLAYLISTS, make_still
from tests.video.videos import make_sound

ALONE = Processes()

REASONS = {
    "text": "not a readable video file",
    "cut": "ends after|not a readable video file",
    "damaged": "is damaged|cannot be decoded",
    "huge": "more than 35651584",
    "narrow": "one side more than 16 times the other",
    "sound": "no video stream",
    "playlist": "not a readable video file",
    "empty": "empty",
}


def write_bad_videos(folder: Path, *, good: Path) -> None:
    """One of every kind in `REASONS`."""
    content = good.read_bytes()
    (folder / "text.mp4").write_text("start,end\n")
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    spoilt = bytearray(content)
    for offset, size in packets_of(good):  # whatever window is drawn
        spoilt[offset + 8 : offset + size] = bytes(size - 8)
    (folder / "damaged.mp4").write_bytes(spoilt)
    for name, height, width in (("huge", 6000, 6000), ("narrow", 400, 16)):
        make_still(folder / f"{name}.mov", height=height, width=width).rename(folder / f"{name}.mp4")
    make_sound(folder / "sound.mp4")
    (folder / "playlist.mp4").write_text(PLAYLISTS["concat"].format(name=good.name))
    (folder / "empty.mp4").touch()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sound training videos, two test videos, and a bad one of every kind to train on."""
    path = make_tiny_experiment(tmp_path_factory.mktemp("tiny"))
    write_bad_videos(path.parent / "videos", good=path.parent / "videos/video0.mp4")
    annotations = path.parent / "annotations.json"
    content = json.loads(annotations.read_text())
    content["database"] |= {name: content["database"]["video0"] for name in REASONS}
    annotations.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def run(tiny: Path) -> RunFolder:
    config = load_config(tiny, ["training.epochs=1", "training.warmup_epochs=0", "data.max_broken_share=0.9"])
    folder = experiment.find_run(config, processes=ALONE)
    with logging_to(folder.log):
        experiment.train(config, processes=ALONE, folder=folder, deterministic=False)
    return folder


@pytest.mark.parametrize("name", REASONS)
def test_training_goes_on_without_a_bad_video_and_says_why(run: RunFolder, name: str) -> None:
    (told,) = [line for line in run.log.read_text().splitlines() if f"training goes on without video {name}: " in line]
    assert any(reason in told for reason in REASONS[name].split("|")), told
    assert f"{len(REASONS)} of {len(REASONS) + 4} training videos are broken" in run.log.read_text()


def test_check_data_lists_every_bad_video(re2tal: Any, tiny: Path, tmp_path: Path) -> None:
    assert re2tal("check-data", tiny, "--jobs", 1, "--list", tmp_path / "findings.jsonl") == 1
    findings = map(json.loads, (tmp_path / "findings.jsonl").read_text().splitlines())
    details = {finding["video"]: finding["detail"] for finding in findings if finding["video"] is not None}
    assert set(details) == set(REASONS)
    for name, reasons in REASONS.items():
        assert any(reason in details[name] for reason in reasons.split("|")), details[name]


def test_predict_lists_every_bad_video(re2tal: Any, tiny: Path, run: RunFolder, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in (*REASONS, "video4"):
        shutil.copy(tiny.parent / f"videos/{name}.mp4", videos)
    out = tmp_path / "out"
    assert re2tal("predict", videos, "--checkpoint", run.best, "--out", out) == 3
    skipped = json.loads((out / "skipped.json").read_text())
    assert set(skipped) == set(REASONS)
    for name, reasons in REASONS.items():
        assert any(reason in skipped[name]["reason"] for reason in reasons.split("|")), skipped[name]
    assert set(json.loads((out / "detections.json").read_text())["results"]) == {"video4"}
