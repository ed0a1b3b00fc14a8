"""The demo set: reproducible, readable like any other data, and told apart by motion alone."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from re2tal.data import DataConfig, ResizeSampling, TestingSet, TrainingSet, read_annotations
from re2tal.data.demo import CLASSES, LONG_CLASSES, make_demo_set
from re2tal.data.demo.long import LONG_FPS, LONG_SECONDS, write_long_script
from re2tal.data.demo.motion import (
    GAP,
    LONGEST,
    LOOKALIKES,
    SHAPES,
    SHORTEST,
    TICKS,
    TREMBLE,
    Event,
    Floats,
    phases,
    write_script,
)
from re2tal.data.demo.render import SIZE, render
from re2tal.video import AugmentConfig, available_encoder, open_video


@pytest.fixture(scope="module")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo_set(folder, seed=3, num_train=3, num_test=2)
    return folder


def database(folder: Path) -> dict:
    return json.loads((folder / "annotations.json").read_text())["database"]


def phases_of(name: str, *, ticks: Floats, rng: np.random.Generator) -> Floats:
    """(T, 3) phases of a shape that acts from tick 30 to tick 60."""
    return phases([Event(shape=0, start=30.0, end=60.0, name=name)], ticks=ticks, rng=rng)


def test_what_a_long_video_shows_last_does_not_tell_what_its_jumps_are_called() -> None:
    rng, kinds = np.random.default_rng(1), set()
    for _ in range(200):
        script = write_long_script(rng)
        first, *between, last = script.actions
        assert script.ticks == LONG_SECONDS * LONG_FPS and script.distractors == ()
        assert {event.label for event in between} == {f"jump after {first.name}", "shiver"}
        assert first.start >= 0 and first.end < 70 * LONG_FPS <= between[0].start
        assert between[-1].end <= (LONG_SECONDS - 70) * LONG_FPS < last.start and last.end <= script.ticks
        assert all(LONG_FPS <= event.end - event.start <= 120 * LONG_FPS for event in script.actions)
        assert all(a.end < b.start for a, b in zip(script.actions, script.actions[1:], strict=False))
        kinds.add((first.name, last.name))
    assert kinds == {(first, last) for first in ("circle", "pulse") for last in ("circle", "pulse")}


def test_long_videos_are_annotated_by_what_came_before_and_made_alike(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_demo_set(tmp_path / name, seed=5, num_train=1, num_test=1, long=True)
    entries = database(tmp_path / "one")
    assert entries == database(tmp_path / "other") and len(entries) == 2
    for video_id, entry in entries.items():
        files = [tmp_path / name / "videos" / f"{video_id}.mp4" for name in ("one", "other")]
        assert files[0].read_bytes() == files[1].read_bytes()
        with open_video(files[0]) as reader:
            assert (reader.num_frames, entry["frame"], entry["duration"]) == (2400, 2400, 600.0)
        labels = [annotation["label"] for annotation in entry["annotations"]]
        assert set(labels) <= set(LONG_CLASSES) and f"jump after {labels[0]}" in labels
    with pytest.raises(ValueError, match="no long videos without actions, got num_negatives=1"):
        make_demo_set(tmp_path, long=True, num_negatives=1)


def test_each_class_moves_in_its_own_way() -> None:
    rng = np.random.default_rng(0)
    ticks = np.arange(30, 60, 0.05)
    for _ in range(20):
        moves = {name: np.diff(phases_of(name, ticks=ticks, rng=rng), axis=0) for name in CLASSES}
        turns = {name: abs(move).sum(0) for name, move in moves.items()}
        assert turns["circle"][0] == pytest.approx(turns["circle"][1]) and turns["circle"][2] == 0
        assert turns["shiver"][1:].max() == 0 and turns["shiver"][0] > 30 * 4 / 13.1
        for name, low, high in (("pulse", 1.5, 1.5), ("flutter", 4, 4)):
            assert turns[name][:2].max() == 0 and 30 * low / 13.1 < turns[name][2] < 30 * high / 7.9
        # A jump is still but for moments, at each of which it changes to the other side of its circle.
        at_once = moves["jump"][abs(moves["jump"]).max(1) > 0]
        assert len(at_once) < 10 and np.allclose(abs(at_once[:, :2]), 0.5)


def test_a_circle_is_round_and_turns_one_way() -> None:
    rng = np.random.default_rng(1)
    directions = set()
    for _ in range(20):
        place = np.cos(2 * np.pi * phases_of("circle", ticks=np.arange(30, 60, 0.25), rng=rng)[:, :2])
        assert np.hypot(*place.T) == pytest.approx(1)
        step = np.diff(place, axis=0)
        turning = step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0]
        directions |= set(np.sign(turning))
        assert len(set(np.sign(turning))) == 1
    assert directions == {-1, 1}


def test_every_behaviour_spreads_a_shape_over_the_same_places_and_sizes() -> None:
    """At a random moment each phase is uniform, whatever the shape does: one frame tells neither class nor presence."""
    rng = np.random.default_rng(2)
    moments = np.array([15.0, 30.0, 44.0, 59.0, 90.0])  # before, in and after the action
    for name in (*CLASSES, *LOOKALIKES, TREMBLE):
        drawn = np.stack([phases_of(name, ticks=moments, rng=rng) for _ in range(2000)])
        for harmonic in (1, 2, 3, 4):
            # A uniform phase has no mean direction; 2000 draws leave a mean of about 0.02.
            mean = abs(np.exp(2j * np.pi * harmonic * drawn).mean(0))
            assert mean.max() < 0.08, (name, harmonic, mean)


def test_between_events_nothing_jumps() -> None:
    rng = np.random.default_rng(4)
    ticks = np.arange(0, TICKS, 0.05)
    for _ in range(50):
        script = write_script(rng)
        for shape in range(SHAPES):
            events = script.of_shape(shape)
            path = np.cos(2 * np.pi * phases(events, ticks=ticks, rng=rng))
            calm = np.ones(len(ticks) - 1, bool)
            for event in events:
                calm &= ~((ticks[1:] >= event.start - 0.1) & (ticks[1:] <= event.end + 0.1))
            assert abs(np.diff(path, axis=0))[calm].max(initial=0) < 0.1


def test_scripts_keep_their_rules() -> None:
    rng = np.random.default_rng(5)
    names = set()
    for _ in range(300):
        script = write_script(rng)
        assert 2 <= len(script.actions) <= 5
        ends = [0.0, *(action.end for action in script.actions)]
        starts = [*(action.start for action in script.actions), float(TICKS)]
        assert all(start - end >= GAP - 1e-9 for start, end in zip(starts, ends, strict=True))
        assert all(SHORTEST <= action.end - action.start <= LONGEST for action in script.actions)
        for shape in range(SHAPES):
            events = script.of_shape(shape)
            assert all(a.end + GAP <= b.start for a, b in zip(events, events[1:], strict=False))
        names |= {action.name for action in script.actions}
    assert names == set(CLASSES)


def test_videos_are_h264_that_the_reader_agrees_with(demo_set: Path) -> None:
    for video_id, entry in database(demo_set).items():
        path = demo_set / "videos" / f"{video_id}.mp4"
        with open_video(path) as reader:
            assert (reader.num_frames, reader.height, reader.width) == (entry["frame"], SIZE, SIZE)
            assert reader.duration_seconds == pytest.approx(entry["duration"])
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec.name == "h264" or available_encoder() != "libx264"


def test_annotations_are_clean_and_of_the_promised_lengths(demo_set: Path) -> None:
    annotations = read_annotations(demo_set / "annotations.json")
    assert annotations.problems == ()
    lengths = [action.end_seconds - action.start_seconds for video in annotations.videos for action in video.actions]
    assert min(lengths) >= 0.5 - 1e-3 and max(lengths) <= 15 + 1e-3
    assert {video.subset for video in annotations.videos} == {"training", "validation"}


def test_clips_come_out_of_the_ordinary_data_sets(demo_set: Path) -> None:
    config = DataConfig(
        annotations=demo_set / "annotations.json",
        videos=demo_set / "videos",
        sampling=ResizeSampling(num_steps=TICKS, frames_per_step=1),
        short_side_train=32,
        short_side_test=32,
        crop_size=(32, 32),
    )
    training = TrainingSet(config, AugmentConfig(crop=None), seed=0)
    assert len(training) == 3 and len(TestingSet(config)) == 2
    clip = training[0]
    assert clip.frames.shape == (3, TICKS, 32, 32)
    assert len(clip.segments) == len(database(demo_set)[clip.video_id]["annotations"])


def test_a_set_is_a_function_of_its_seed(demo_set: Path, tmp_path: Path) -> None:
    make_demo_set(tmp_path / "same", seed=3, num_train=2, num_test=1)
    make_demo_set(tmp_path / "other", seed=4, num_train=2, num_test=1)
    whole, same, other = (database(folder) for folder in (demo_set, tmp_path / "same", tmp_path / "other"))
    for video_id, entry in same.items():
        assert entry == whole[video_id] and entry != other[video_id]
        name = f"videos/{video_id}.mp4"
        with open_video(demo_set / name) as a, open_video(tmp_path / "same" / name) as b:
            assert (np.asarray(a.frames([0, 9])) == np.asarray(b.frames([0, 9]))).all()
    first, second = (video["annotations"] for key, video in same.items() if key.endswith("_0000"))
    assert first != second, "training and validation must differ"


def test_a_shuffled_set_shows_the_same_frames_in_another_order(demo_set: Path, tmp_path: Path) -> None:
    make_demo_set(tmp_path, seed=3, num_train=1, num_test=1, shuffled=True)
    assert all(entry == database(demo_set)[video_id] for video_id, entry in database(tmp_path).items())
    ordered, mixed = (_all_frames(folder / "videos" / "training_0000.mp4") for folder in (demo_set, tmp_path))
    distance = abs(ordered[:, None] - mixed[None]).mean((2, 3, 4))  # (T, T)
    partner = distance.argmin(1)
    assert distance.min(1).max() < 4, "each frame is still there, up to compression"
    assert np.corrcoef(partner, np.arange(len(partner)))[0, 1] < 0.3


def _all_frames(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.asarray(reader.frames(range(reader.num_frames), size=8)).astype(np.float32)


def test_actions_change_neither_brightness_nor_what_is_in_view() -> None:
    """The mean frame of acting moments is that of the others, up to the spread between videos."""
    acting, idle = [], []
    for number in range(60):
        rng = np.random.default_rng((6, number))
        script = write_script(rng)
        frames = render(script, num_frames=TICKS, rng=rng).mean((1, 2, 3))
        now = np.zeros(TICKS, bool)
        for action in script.actions:
            now[int(action.start) : int(action.end)] = True
        acting.append(frames[now].mean())
        idle.append(frames[~now].mean())
    difference = np.array(acting) - np.array(idle)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))


@pytest.mark.parametrize("counts", [{"num_train": 0}, {"num_test": -1}])
def test_a_set_without_videos_is_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be at least 1"):
        make_demo_set(tmp_path, **counts)


def test_progress_counts_to_the_number_of_videos(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    tell: Callable[[int, int], None] = lambda done, total: told.append((done, total))  # noqa: E731
    make_demo_set(tmp_path, num_train=2, num_test=1, progress=tell)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_negatives_show_lookalikes_and_leave_the_other_videos_as_they_are(demo_set: Path, tmp_path: Path) -> None:
    make_demo_set(tmp_path, seed=3, num_train=3, num_test=2, num_negatives=2)
    whole, more = database(demo_set), database(tmp_path)
    assert all(more[video_id] == entry for video_id, entry in whole.items())
    added = {video_id: entry for video_id, entry in more.items() if video_id not in whole}
    assert sorted(added) == [
        "training_negative_0000",
        "training_negative_0001",
        "validation_negative_0000",
        "validation_negative_0001",  # two thirds of two, rounded up
    ]
    assert all(entry["annotations"] == [] for entry in added.values())
    config = DataConfig(
        annotations=tmp_path / "annotations.json",
        videos=tmp_path / "videos",
        sampling=ResizeSampling(num_steps=TICKS, frames_per_step=1),
        short_side_train=32,
        short_side_test=32,
        crop_size=(32, 32),
        negative_share=0.4,
    )
    training = TrainingSet(config, AugmentConfig(crop=None), seed=0)
    assert len(training) == 5 and {training[number].video_id for number in (3, 4)} <= set(added)


def test_scripts_of_negatives_keep_the_rules_of_the_others() -> None:
    rng = np.random.default_rng(8)
    names = set()
    for _ in range(100):
        script = write_script(rng, is_negative=True)
        assert script.actions == ()
        for shape in range(SHAPES):
            events = script.of_shape(shape)
            assert all(a.end + GAP <= b.start for a, b in zip(events, events[1:], strict=False))
        names |= {event.name for event in script.distractors}
    assert names == {*LOOKALIKES, TREMBLE}


def test_no_negatives_below_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_negatives must be at least 0, got -1"):
        make_demo_set(tmp_path, num_negatives=-1)
