"""Large inputs: what is opened, looked at and held, counted; `stress/load.py` has the seconds and the sizes."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import load
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.common.annotation_files import Repeats
from re2tal.config import load_config
from re2tal.data import DataConfig, ResizeSampling, TestingSet, TrainingSet, WindowSampling
from re2tal.evaluation import evaluate_files
from re2tal.experiments import experiment
from re2tal.report.videos import table_videos
from re2tal.training import Processes, RunFolder
from re2tal.video import AugmentConfig
from tests.tiny_experiment import make_tiny_experiment

_times = st.floats(0, 0.05) | st.sampled_from([0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 1e300])


@given(st.lists(st.tuples(st.sampled_from("ab"), _times, _times), max_size=30))
def test_repeated_annotations_are_those_that_a_search_through_all_finds(rows: list[tuple[str, float, float]]) -> None:
    seen, kept = Repeats(), []
    for label, start, end in rows:
        is_new = all(label != a or max(abs(start - b), abs(end - c)) > 1e-3 for a, b, c in kept)
        assert seen.add(label, start, end) == is_new
        if is_new:
            kept.append((label, start, end))


def test_repeated_annotations_of_a_long_film_take_a_few_looks_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(value: float) -> float:
        nonlocal looks
        looks += 1
        return value if value >= 0 else -value

    monkeypatch.setattr("re2tal.common.annotation_files.abs", counted, raising=False)
    seen = Repeats()
    starts = np.random.default_rng(0).uniform(0, 7200, 20_000)
    assert sum(seen.add("run", start, start + 1) for start in starts.tolist()) > 19_000
    assert 0 < looks < 20_000


def _untold(folder: Path, *, count: int, frames: int | None) -> Path:
    """Annotations of `count` videos whose files are empty: whoever opens one fails."""
    (folder / "videos").mkdir()
    path = folder / "annotations.json"
    load.make_annotations(path, count, load.random.Random(0), seconds=60.0, frames=frames)
    for name in load.names_of(count):
        (folder / f"videos/{name}.mp4").touch()
    return path


@pytest.mark.parametrize("sampling", [WindowSampling(num_steps=64), ResizeSampling(num_steps=16)])
def test_no_video_is_opened_before_the_first_clip(tmp_path: Path, sampling: Any) -> None:
    frames = 1500 if sampling.kind == "window" else None
    annotations = _untold(tmp_path, count=1000, frames=frames)
    config = DataConfig(annotations=annotations, videos=tmp_path / "videos", sampling=sampling)
    assert len(TrainingSet(config, AugmentConfig())) == 666
    assert len(TestingSet(config)) >= 334


def test_frames_are_counted_where_annotations_do_not(tmp_path: Path) -> None:
    make_tiny_experiment(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    told = load_config(tmp_path / "tiny.py").data
    wanted = len(TestingSet(told))
    for entry in content["database"].values():
        del entry["frame"]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert len(TestingSet(told)) == wanted
    whole = told.model_copy(update={"sampling": ResizeSampling(num_steps=8, frames_per_step=2)})
    assert len(TestingSet(whole)) == 2


def test_training_reads_its_annotations_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(make_tiny_experiment(tmp_path), ["training.epochs=1", "training.warmup_epochs=0"])
    calls = []
    read = experiment.annotations_of
    monkeypatch.setattr("re2tal.experiments.experiment.annotations_of", lambda data: calls.append(data) or read(data))
    monkeypatch.setattr("re2tal.data.subsets.annotations_of", lambda data: calls.append(data) or read(data))
    experiment.train(config, processes=Processes(), folder=RunFolder(tmp_path / "run"))
    assert len(calls) == 1


def test_evaluation_needs_less_than_a_kilobyte_for_each_detection(tmp_path: Path) -> None:
    load.make_detections(tmp_path, 50_000, load.random.Random(0))
    tracemalloc.start()
    result = evaluate_files(
        tmp_path / "annotations.json", tmp_path / "detections.json", subset="validation", tious=(0.5, 0.7)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result.num_predictions, result.num_videos) == (50_000, 250)
    assert peak < 1000 * 50_000


def test_a_page_of_very_many_videos_shows_fewer_detections_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from re2tal.evaluation import Predictions

    monkeypatch.setattr("re2tal.report.videos._OF_ALL_VIDEOS", 30)
    found = Predictions(
        video_ids=tuple(f"{number}" for number in range(10)),
        class_names=("run",),
        video_index=np.repeat(np.arange(10), 5),
        label_index=np.zeros(50, np.int64),
        segments=np.tile([[0.0, 1.0]], (50, 1)),
        scores=np.linspace(0, 1, 50),
    )
    shown = [table_videos(found=found, truth=None, quality=None, max_detections=most) for most in (None, 4, 9)]
    assert [len(table.videos[3]["found"]["score"]) for table in shown] == [3, 4, 5]
    assert [table.most_shown for table in shown] == [3, 4, None]


@pytest.mark.parametrize(
    ("full", "held"), [((20.0, 300.0), True), ((20.0, 400.0), False), ((1000.0, 300.0), False)], ids=str
)
def test_the_long_program_tells_when_a_promise_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, full: tuple[float, float], held: bool
) -> None:
    measured = iter([[(10.0, 290.0)], [full]])  # seconds and MiB at a tenth, in full
    monkeypatch.setattr(load, "measure", lambda *_, **__: next(measured))
    monkeypatch.setattr("sys.argv", ["load.py", "--cases", "predict", "--json"])
    with pytest.raises(SystemExit) as ended:
        load.main()
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["held"] is held and ended.value.code == (0 if held else 1)
    assert told["rows"][0]["sizes"] == [1000, 10_000] and told["rows"][0]["allowed_seconds"] == 200


def test_the_long_program_measures_a_process(tmp_path: Path) -> None:
    load.make_detections(tmp_path, 400, load.random.Random(0))
    seconds, mib = load.run(load.on_files("evaluate")(tmp_path))
    assert seconds > 0 and 50 < mib < 10_000
