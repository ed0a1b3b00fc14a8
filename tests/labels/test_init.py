"""Settings chosen for a data set, and the config that says why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from re2tal.common.labelled import LabelledTime
from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import describe
from re2tal.data import ResizeSampling, WindowSampling
from re2tal.labels import (
    BUDGETS,
    DataSet,
    Measures,
    Size,
    SourceError,
    choose,
    config_text,
    load_data_set,
    measure,
    write_config,
)

UCF = Measures(
    num_train=36, num_test=8, num_actions=228, class_names=("Basketball", "BasketballDunk"), shortest=0.9, short=0.97,
    median=1.37, upper=1.57, long=1.97, longest=3.7, video_median=33.5, video_long=60.0, video_longest=84.3,
    actions_per_minute=10.0, total_seconds=1300.0, fps=25.0, fps_range=(25.0, 25.0), pixels=160 * 120, aspect=4 / 3,
    time=LabelledTime(labelled=600.0, empty=300.0),
    empty_videos=(),
    empty_stretches=(),
)  # fmt: skip

positive = st.floats(0.05, 4000)


@st.composite
def measures(draw: st.DrawFn) -> Measures:
    lengths = sorted(draw(st.lists(positive, min_size=6, max_size=6)))
    videos = sorted(max(length, lengths[-1]) for length in draw(st.lists(positive, min_size=3, max_size=3)))
    names = ("shortest", "short", "median", "upper", "long", "longest", "video_median", "video_long", "video_longest")
    num_train = draw(st.integers(1, 20_000))
    fps = draw(st.floats(1, 240))
    return replace(
        UCF,
        **dict(zip(names, [*lengths, *videos], strict=True)),  # type: ignore[arg-type]
        num_train=num_train,
        num_actions=draw(st.integers(num_train, 10 * num_train)),
        actions_per_minute=draw(st.floats(0.001, 500)),
        total_seconds=videos[0] * num_train,
        fps=fps,
        fps_range=(fps, fps * draw(st.floats(1, 2))),
        pixels=draw(st.integers(64, 4000 * 3000)),
        aspect=draw(st.floats(0.3, 3)),
        class_names=draw(st.sampled_from([("run",), ("turn left", "turn 'right'"), ('say "no"\\', "größer")])),
    )


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("own") / "with 'quotes' and ä"
    (folder / "videos").mkdir(parents=True)
    content = {"videos": "videos", "video_pattern": "{id}.mp4", "database": {}}
    for number in range(2):
        content["database"][f"v{number}"] = {  # type: ignore[index]
            "subset": "training" if number else "validation",
            "duration": 30.0,
            "frame": 750,
            "resolution": "160x120",
            "annotations": [{"segment": [1.0, 2.0], "label": "run"}],
        }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return load_data_set(path, videos=None)


def written(measured: Measures, size: Size, data: DataSet, path: Path, **more: Any) -> tuple[str, ExperimentConfig]:
    choices = choose(measured, size=size, memory_mib=16_000)
    options = {"name": "my 'own' \"data\"", "folder": path.parent, "pretrained": None, **more}
    text = config_text(data, measured, choices, **options)
    write_config(text, path)
    return text, load_config(path)


@given(measured=measures(), size=st.sampled_from(("small", "medium", "large")))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_data_gets_a_config_that_loads_and_keeps_its_budget(
    measured: Measures, size: Size, data_set: DataSet, tmp_path: Path
) -> None:
    _, config = written(measured, size, data_set, tmp_path / "config.py")
    sampling, budget = config.data.sampling, BUDGETS[size]
    assert sampling.num_steps * sampling.frames_per_step <= budget.max_frames
    assert config.pyramid.max_steps == sampling.num_steps
    assert sampling.num_steps % config.pyramid.strides[-1] == 0
    assert config.data.crop_size[0] * config.data.crop_size[1] <= 1.3 * max(budget.pixels, 16 * 28)
    assert config.training.batch_size <= measured.num_train
    if isinstance(sampling, WindowSampling):
        window = sampling.num_steps * sampling.frames_in_step / measured.fps
        assert window >= min(measured.long, measured.video_longest) * 0.999
    # The crop fits into every test frame of the narrowest shape.
    height, width = config.data.crop_size
    ratio = max(measured.aspect, 1 / measured.aspect)
    assert max(height, width) <= round(config.data.short_side_test * ratio)


def test_real_short_actions_get_short_steps(data: Path) -> None:
    """The rules give what was found by trying for these videos (docs/ucf_mini.md), though not from them alone."""
    found = measure(load_data_set(data / "ucf_mini/ucf_mini.json", videos=data / "ucf_mini/videos"))
    assert (found.num_train, found.num_actions, found.fps, found.pixels) == (36, 228, 25.0, 160 * 120)
    assert found.median == pytest.approx(1.37, abs=0.01) and found.longest == pytest.approx(3.70, abs=0.01)
    chosen = choose(found, size="small")
    assert (chosen.num_steps, chosen.frames_per_step, chosen.frame_stride) == (64, 1, 4)
    assert (chosen.levels, chosen.first_reach, chosen.center_radius, chosen.crop_size) == (2, 8, 2.0, (60, 80))
    assert chosen.seconds_per_step == pytest.approx(0.16) and chosen.window_seconds == pytest.approx(10.24)


def test_longer_actions_get_longer_steps_and_windows() -> None:
    slow = replace(
        UCF, **{name: 4 * getattr(UCF, name) for name in ("shortest", "short", "median", "upper", "long", "longest")}
    )
    slow = replace(slow, video_median=600.0, video_long=900.0, video_longest=1200.0)
    chosen = choose(slow, size="small")
    assert chosen.seconds_per_step == pytest.approx(0.64) and chosen.window_seconds == pytest.approx(40.96)
    assert chosen.frames_per_step == 2  # or motion would hardly be seen
    wide = replace(slow, long=60.0, longest=90.0)
    coarse, fine = choose(wide, size="small"), choose(wide, size="large")
    assert coarse.window_seconds >= 60 and fine.window_seconds >= 60
    assert fine.seconds_per_step < coarse.seconds_per_step
    assert coarse.levels > chosen.levels


def test_actions_as_long_as_their_videos_are_seen_in_whole_videos(data_set: DataSet, tmp_path: Path) -> None:
    long = replace(UCF, short=10.0, median=40.0, upper=70.0, long=110.0, longest=200.0, video_median=120.0,
                   video_long=180.0, video_longest=240.0)  # fmt: skip
    text, config = written(long, "medium", data_set, tmp_path / "config.py")
    assert isinstance(config.data.sampling, ResizeSampling) and config.pyramid.position_code
    assert "a whole video, since long actions" in text


def test_the_comments_tell_seconds_and_what_was_given_up(data_set: DataSet, tmp_path: Path) -> None:
    text, config = written(UCF, "small", data_set, tmp_path / "config.py")
    flat = " ".join(text.replace("\n#", " ").split())
    assert (
        "Time is cut into steps of 0.16 s (4 frames of the file; of 4 frames one is looked at, 6.25 per second)" in flat
    )
    assert "A window of 64 steps, 10.2 s, is what the network sees at once" in flat
    assert "A short action of 0.97 s then covers 6.1 steps, enough to find its ends" in flat
    assert "up to 1.28 s for the first level" in flat
    assert max(map(len, text.splitlines())) <= 120
    wide = replace(UCF, long=60.0, longest=90.0, fps_range=(12.5, 30.0), video_long=400.0)
    text, _ = written(wide, "small", data_set, tmp_path / "wide.py")
    flat = " ".join(text.replace("\n#", " ").split())
    assert "its ends will be found roughly" in flat and "fits only just" in flat and "12.5 to 30 frames" in flat


def test_sides_in_the_names_of_classes_switch_mirroring_off(data_set: DataSet, tmp_path: Path) -> None:
    for names, flip in (
        (("turn left", "turn right"), 0.0), (("paw_L", "paw_R"), 0.0), (("arm-links",), 0.0),
        (("bright", "leftover"), 0.5), (("run",), 0.5),
    ):  # fmt: skip
        _, config = written(replace(UCF, class_names=names), "small", data_set, tmp_path / "config.py")
        assert config.augment.flip_probability == flip


def test_each_size_names_its_network(data_set: DataSet, tmp_path: Path) -> None:
    counts = {}
    for size in ("small", "medium", "large"):
        _, config = written(UCF, size, data_set, tmp_path / f"{size}.py")  # type: ignore[arg-type]
        assert config.backbone.reversible and config.backbone.pretrained is None
        counts[size] = describe(config)["parameters"]["backbone"]
    assert counts["small"] < 1e6 < counts["medium"] < counts["large"] == 27_850_470
    _, config = written(UCF, "large", data_set, tmp_path / "config.py", pretrained=Path("/w/swin.pth"))
    assert config.backbone.pretrained == Path("/w/swin.pth") and config.backbone.freeze_norms
    assert config.training.backbone_learning_rate == 1e-5 and config.training.amp == "auto"


def test_decoded_frames_are_kept_if_the_memory_bears_it() -> None:
    assert choose(UCF, size="small", memory_mib=16_000).cache_mib >= 64
    assert choose(UCF, size="small").cache_mib == 0
    assert choose(replace(UCF, total_seconds=1e6), size="small", memory_mib=16_000).cache_mib == 0


def test_paths_below_the_config_move_with_it(data_set: DataSet, tmp_path: Path) -> None:
    folder = data_set.annotations.path.parent
    text, config = written(UCF, "small", data_set, folder / "config.py")
    assert "annotations=HERE / 'annotations.json'" in text and "videos=HERE / 'videos'" in text
    assert config.data.annotations == (folder / "annotations.json").resolve()
    assert config.work_dir == folder.resolve() / "exps"
    _, config = written(UCF, "small", data_set, tmp_path / "config.py")
    assert config.data.videos == (folder / "videos").resolve()


def annotations(folder: Path, subsets: dict[str, str], **more: Any) -> Path:
    database = {
        name: {"subset": subset, "duration": 12.0, "annotations": [{"segment": [1.0, 2.0], "label": "run"}]}
        for name, subset in subsets.items()
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": database, **more}))
    return path


def test_annotations_of_other_origin_need_the_folder_and_are_looked_at(clips: Path, tmp_path: Path) -> None:
    path = annotations(tmp_path, {"a": "train", "b": "train", "c": "test"})
    with pytest.raises(SourceError, match="does not tell where its videos are; give their folder with --videos"):
        load_data_set(path, videos=None)
    data = load_data_set(path, videos=clips)
    assert (data.train_subset, data.test_subset, data.video_pattern) == ("train", "test", "{id}.mp4")
    found = measure(data)
    assert (found.fps, found.pixels, found.aspect) == (10.0, 16 * 24, 1.5)


@pytest.mark.parametrize(
    ("subsets", "more", "message"),
    [
        ({"a": "training"}, {"videos": "gone"}, "no folder .*gone"),
        ({"x": "training", "y": "validation"}, {"videos": "."}, "no video of the annotations, such as 'x', is a file"),
        ({"a": "training"}, {"videos": "clips"}, "no videos to test on; its subsets are 'training' .1."),
        ({"a": "validation"}, {"videos": "clips"}, "no videos to train on"),
    ],
)
def test_annotations_that_no_run_can_use(
    clips: Path, tmp_path: Path, subsets: dict[str, str], more: dict[str, str], message: str
) -> None:
    (tmp_path / "clips").symlink_to(clips)
    with pytest.raises(SourceError, match=message):
        load_data_set(annotations(tmp_path, subsets, **more), videos=None)


def test_videos_of_several_shapes_get_a_crop_that_fits_all(data_set: DataSet) -> None:
    entries = {"v0": {"resolution": "1080x1920"}, "v1": {"resolution": "1920x1080"}}
    assert measure(replace(data_set, extra=entries)).aspect == 1.0
    wide = {"v0": {"resolution": "1440x1080"}, "v1": {"resolution": "1920x1080"}}
    assert measure(replace(data_set, extra=wide)).aspect == pytest.approx(4 / 3)
    tall = {"v0": {"resolution": "1080x1440"}, "v1": {"resolution": "1080x1920"}}
    assert measure(replace(data_set, extra=tall)).aspect == pytest.approx(3 / 4)


def test_negatives_get_the_share_that_they_have_of_the_labelled_time_up_to_a_half() -> None:
    with_videos = replace(UCF, empty_videos=(60.0, 90.0), empty_stretches=(10.0, 12.0, 100.0))
    assert choose(UCF, size="small").negative_share == 0
    assert choose(with_videos, size="small").window_seconds == pytest.approx(10.24)
    # Of 600 s: the videos, and the stretch that is longer than a window; and a half at most.
    assert choose(with_videos, size="small").negative_share == round((60 + 90 + 12 + 100) / 600, 2)
    assert choose(replace(with_videos, empty_videos=(900.0,)), size="small").negative_share == 0.5


def test_empty_videos_are_measured_and_trained_on(data_set: DataSet, tmp_path: Path) -> None:
    content = json.loads(data_set.annotations.path.read_text())
    plain = measure(data_set)
    assert (plain.empty_videos, plain.empty_stretches, plain.time.labelled) == ((), (), 30.0)
    content["videos"] = str(data_set.videos)
    content["database"]["nothing"] = {**content["database"]["v1"], "annotations": []}
    content["database"]["partly"] = {**content["database"]["v1"], "labelled": [[0.0, 5.0]]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    data = load_data_set(path, videos=None)
    measured = measure(data)
    assert measured.num_train == 2 and measured.empty_videos == (30.0,)
    assert measured.empty_stretches == (1.0, 28.0, 1.0, 3.0)
    assert (measured.time.labelled, measured.time.empty, measured.time.unlabelled) == (65.0, 63.0, 25.0)
    text, config = written(measured, "small", data, tmp_path / "config.py")
    assert config.data.negative_share == choose(measured, size="small").negative_share > 0
    assert "1.1 min labelled, 1.1 min of them without an action; 0.4 min not labelled" in text
    assert "50% of the training clips show no action" in text and "with actions, and 2 clips without" in text
