"""Whole videos in testing: the features of all windows go through pyramid and head at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from re2tal.common.types import Detections, FeatureBatch, TimeGrid
from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.data import ClipStream, DataSettings, TestingSet, batches_of
from re2tal.data.clip_specs import frame_grid
from re2tal.detections import detect_window, merge_windows
from re2tal.experiments import experiment
from re2tal.experiments.loading import load_tests
from re2tal.inference import ClipDetector, TrainedDetector, detect_in_video
from re2tal.inference.whole_videos import WholeVideos
from re2tal.training import Processes, RunFolder, save_checkpoint, seed_all
from re2tal.video import open_video
from tests.tiny_experiment import make_tiny_experiment

CPU = torch.device("cpu")
STEPS = 24
"""Of a video: 48 frames, two to a step. Windows are of 16."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    make_tiny_experiment(folder)
    return folder


def configured(folder: Path, *options: str) -> ExperimentConfig:
    return load_config(folder / "tiny.py", ["backbone.chunk_frames=8", "data.test_whole=True", *options])


def built(config: ExperimentConfig) -> Any:
    seed_all(0)
    return build_detector(config, num_classes=2).eval()


def whole_video(data: DataSettings, video_id: str) -> Tensor:
    """(1, 3, T, H, W), all frames."""
    with open_video(data.video_path(video_id)) as reader:
        frames = reader.frames(frame_grid(reader.num_frames, sampling=data.sampling).tolist(), size=16)
    return frames.permute(3, 0, 1, 2)[None]


def expected(config: ExperimentConfig, model: Any, video_id: str) -> Detections:
    """What is found in all frames of a video at once."""
    grid = TimeGrid(start_seconds=0.0, seconds_per_step=0.25, duration_seconds=6.0)
    with torch.no_grad():
        batch = FeatureBatch(
            features=model.backbone(whole_video(config.data, video_id), STEPS),
            mask=torch.ones(1, STEPS, dtype=torch.bool),
            video_ids=(video_id,),
            grids=(grid,),
            segments=(torch.zeros(0, 2),),
            labels=(torch.zeros(0, dtype=torch.int64),),
        )
        (proposals,) = model(batch)
    found = detect_window(proposals, grid=grid, video_id=video_id, config=config.postprocess, merged_later=True)
    return merge_windows([found], config=config.postprocess)


def assert_alike(found: Detections, wanted: Detections) -> None:
    assert found.video_id == wanted.video_id and torch.equal(found.labels[:10], wanted.labels[:10])
    torch.testing.assert_close(found.segments[:10], wanted.segments[:10], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.scores[:10], wanted.scores[:10])


@pytest.mark.parametrize(("overlap", "size"), [(0.5, 1), (0.75, 2), (0.5, 3)])
def test_what_is_found_is_that_of_all_frames_at_once(folder: Path, overlap: float, size: int) -> None:
    config = configured(folder, f"data.sampling.test_overlap={overlap}", f"training.batch_size={size}")
    model = built(config)
    tested = experiment.Tester(config, processes=Processes()).detect(model)
    assert [found.video_id for found in tested] == ["video4", "video5"]
    for found in tested:
        assert_alike(found, expected(config, model, found.video_id))
    windows = experiment.Tester(
        configured(folder, "data.test_whole=False", f"data.sampling.test_overlap={overlap}"), processes=Processes()
    ).detect(model)
    assert not torch.equal(windows[0].scores[:10], tested[0].scores[:10])


def test_predicting_finds_what_testing_finds_and_tells_of_windows(folder: Path) -> None:
    config = configured(folder, "training.batch_size=1")
    model = built(config)
    tested = experiment.Tester(config, processes=Processes()).detect(model)[0]
    trained = TrainedDetector(path=folder, config=config, class_names=("flash", "glow"), model=model, video_labels=None)
    stream = ClipStream(config.data.video_path("video4"), video_id="video4", config=config.data)
    told: list[int] = []
    predicted = detect_in_video(stream, trained=trained, device=CPU, tell=told.append)
    assert torch.equal(predicted.segments, tested.segments) and torch.equal(predicted.scores, tested.scores)
    assert told == [1, 2]
    fingerprint = trained.fingerprint()
    in_windows = configured(folder, "data.test_whole=False")
    assert fingerprint != TrainedDetector(**{**vars(trained), "config": in_windows}).fingerprint()


def test_windows_may_come_in_any_order(folder: Path) -> None:
    config = configured(folder)
    model = built(config)
    batches = list(batches_of(iter(TestingSet(config.data)), size=1))  # type: ignore[call-overload]
    found = {}
    for name, order in (("in order", (0, 1, 2, 3)), ("in turn", (2, 1, 3, 0))):
        detector = ClipDetector(
            model, config=config, device=CPU, video_labels=None, num_windows={"video4": 2, "video5": 2}
        )
        found[name] = {video.video_id: video for number in order for video in detector.in_batch(batches[number])}
    for video_id in ("video4", "video5"):
        assert_alike(found["in order"][video_id], found["in turn"][video_id])


def test_a_step_is_as_the_window_saw_it_that_it_lies_in_the_middle_of() -> None:
    def window(start: float, *, value: float, mask: Tensor) -> FeatureBatch:
        return FeatureBatch(
            features=torch.full((1, 2, 8), value) + torch.arange(8),
            mask=mask[None],
            video_ids=("a",),
            grids=(TimeGrid(start_seconds=start * 0.3, seconds_per_step=0.3, duration_seconds=5.0),),
            segments=(torch.zeros(0, 2),),
            labels=(torch.zeros(0, dtype=torch.int64),),
        )

    whole = WholeVideos({"a": 3})
    real = torch.ones(8, dtype=torch.bool)
    last = real.clone()
    last[-1] = False
    assert not list(whole.add(window(0, value=0, mask=real)))
    assert not list(whole.add(window(7, value=200, mask=last)))
    (video,) = whole.add(window(4, value=100, mask=real))
    # Middles 4, 8 and 11: step t has its own middle at t + 0.5.
    assert video.features[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 102, 103, 104, 105, *range(203, 208)]
    assert video.mask[0].tolist() == [True] * 14 + [False]
    assert video.grids[0].start_seconds == 0 and not whole._waiting


def test_a_video_is_tested_by_one_process(folder: Path) -> None:
    config = configured(folder)
    clips = TestingSet(config.data)
    seen = []
    for rank in range(3):
        loader = load_tests(clips, config, processes=Processes(rank=rank, world_size=3))
        seen.append([video_id for _, batch in loader for video_id in batch.video_ids])
    assert sorted(map(tuple, seen)) == [(), ("video4", "video4"), ("video5", "video5")]


def test_in_loader_processes_the_same_is_found(folder: Path, tmp_path: Path) -> None:
    found = []
    for num_workers in (0, 2):
        config = configured(folder, f"training.num_workers={num_workers}", "training.batch_size=1")
        about = {"config": config.model_dump_json(), "class_names": ["flash", "glow"]}
        save_checkpoint(tmp_path / "weights.pth", {"weights": built(config).state_dict(), **about})
        out = RunFolder(tmp_path / str(num_workers))
        experiment.test(config, processes=Processes(), folder=out, checkpoint=tmp_path / "weights.pth", evaluate=False)
        found.append(json.loads((out.path / "detections.json").read_text())["results"])
    assert list(found[0]) == list(found[1])
    for ours, theirs in zip(found[0].values(), found[1].values(), strict=True):
        for first, second in zip(ours[:10], theirs[:10], strict=True):
            assert first["segment"] == pytest.approx(second["segment"], abs=1e-3)
            assert first["score"] == pytest.approx(second["score"], rel=1e-4)


def test_resized_videos_are_whole_anyway(folder: Path) -> None:
    with pytest.raises(ValueError, match="test_whole is for windows"):
        configured(folder, "data.sampling={'kind': 'resize', 'num_steps': 16, 'frames_per_step': 2}")
