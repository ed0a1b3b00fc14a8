"""The programs that measure start-up and where the time goes."""

import cProfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from torch.utils.data import DataLoader

from re2tal.common.types import Proposals, TimeGrid
from re2tal.data import DataConfig, TrainingSet, collate
from re2tal.data.demo import make_demo_set
from re2tal.detections import PostprocessConfig, detect_window
from re2tal.video import AugmentConfig


@pytest.fixture(scope="module")
def profiling() -> ModuleType:
    return import_module("profile_run")


def test_time_is_told_by_what_it_went_into(profiling: ModuleType, tmp_path: Path) -> None:
    make_demo_set(tmp_path, num_train=3, num_test=1)
    config = profiling.load_config(profiling.REPOSITORY / "configs/demo/re2slowfast.py").data
    paths = {"annotations": tmp_path / "annotations.json", "videos": tmp_path / "videos", "cache_mib": 0}
    clips = TrainingSet(DataConfig(**{**config.model_dump(), **paths}), AugmentConfig())
    profile = cProfile.Profile()
    profile.runcall(lambda: list(DataLoader(clips, batch_size=3, collate_fn=collate)))
    found = profiling.times_of(profile)
    for name in ("opening and decoding", "scaling and colour", profiling.LOADING):
        assert 0 < found[name] < found["all"], name
    assert found["backward pass"] == found["post-processing"] == 0
    assert sum(found.values()) == pytest.approx(2 * found["all"])
    assert found["everything else"] >= 0


def test_post_processing_is_a_group_of_its_own(profiling: ModuleType) -> None:
    import torch

    segments = torch.rand(200, 2).cumsum(1) * 100
    proposals = Proposals(segments=segments, scores=torch.rand(200, 3))
    grid = TimeGrid(start_seconds=0, seconds_per_step=1, duration_seconds=500)
    profile = cProfile.Profile()
    profile.runcall(detect_window, proposals, grid=grid, video_id="a", config=PostprocessConfig(), merged_later=False)
    assert profiling.times_of(profile)["post-processing"] > 0


def test_the_table_has_a_column_for_each_pass(profiling: ModuleType) -> None:
    row = {
        "set": "demo",
        "pass": "an epoch",
        **dict.fromkeys(profiling.GROUPS, 1.0),
        "everything else": 1.0,
        "all": 10.0,
    }
    text = profiling.table([row])
    assert text.startswith("| | demo, an epoch |") and "| metric | 1.00 s (10 %) |" in text


def test_commands_are_timed() -> None:
    start_up = import_module("start_up")
    seconds, processor = start_up.answered(["--version"])
    assert processor > 0 and seconds > 0
    assert start_up.median([(1.0, 2.0), (3.0, 4.0), (2.0, 9.0)]) == {"seconds": 2.0, "cpu_seconds": 4.0}


def test_training_is_timed_up_to_its_first_step(tmp_path: Path) -> None:
    start_up = import_module("start_up")
    make_demo_set(tmp_path, num_train=16, num_test=2)
    seconds, processor = start_up.first_step(tmp_path)
    assert seconds > 0 and processor > 0
