"""The report on an experiment's data: what stops a run is an error, and `data.missing` can be made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import ExperimentConfig, building, load_config
from re2tal.data import AnnotationError
from re2tal.experiments import experiment
from re2tal.experiments.checking import DataReport, check_data
from re2tal.training import Processes, RunFolder
from tests.tiny_experiment import make_tiny_experiment


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The config of six sound videos: four to train on, two to test on."""
    return make_tiny_experiment(tmp_path)


def _check(tiny: Path, *options: str, **how: Any) -> DataReport:
    return check_data(load_config(tiny, list(options)), jobs=2, **how)


def _found(report: DataReport) -> dict[tuple[str, str, str | None], int]:
    return {(group[0].severity, group[0].what, group[0].subset): len(group) for group in report.kinds()}


def _break(tiny: Path, *numbers: int) -> None:
    for number in numbers:
        (tiny.parent / f"videos/video{number}.mp4").write_bytes(b"no video")


def _remove(tiny: Path, *numbers: int) -> None:
    for number in numbers:
        (tiny.parent / f"videos/video{number}.mp4").unlink()


def _change(tiny: Path, **changes: Any) -> None:
    """Change entries of the annotation file."""
    path = tiny.parent / "annotations.json"
    content = json.loads(path.read_text())
    for video_id, fields in changes.items():
        content["database"][video_id] |= fields
    path.write_text(json.dumps(content))


def _run(config: ExperimentConfig, folder: Path) -> None:
    experiment.Tester(config, processes=Processes()).detect(building.build_detector(config, num_classes=2))
    experiment.train(config, processes=Processes(), folder=RunFolder(folder), evaluate=False, deterministic=False)


def test_sound_data_gives_counts_and_no_findings(tiny: Path) -> None:
    told: list[tuple[int, int]] = []
    report = _check(tiny, tell=lambda done, total: told.append((done, total)))
    assert report.findings == () and report.unusable == () and not report.stops_a_run
    assert report.num_classes == 2
    training, testing = report.subsets["training"], report.subsets["testing"]
    assert (training.annotated, training.with_actions, training.actions, training.to_check) == (4, 4, 8, 4)
    assert (testing.annotated, testing.with_actions, testing.actions, testing.to_check) == (2, 2, 4, 2)
    assert told == [(number, 6) for number in range(1, 7)]


def test_minutes_that_are_labelled_empty_and_unlabelled_are_told(tiny: Path) -> None:
    """Videos of 6 s, of which actions take 4 s."""
    _change(tiny, video0={"labelled": [[0, 3]]}, video1={"labelled": [[0, 3]]}, video2={"annotations": []})
    counts = _check(tiny).subsets["training"]
    labelled, empty = 2 * 5.5 + 12, 2 * (5.5 - 4) + 6 + 2  # up to 3 s, and the action up to 5.5 s
    assert counts.labelled_minutes == round(labelled / 60, 1) and counts.unlabelled_minutes == round(1 / 60, 1)
    assert counts.empty_minutes == round(empty / 60, 1)


def test_negatives_that_are_not_there_stop_a_run(tiny: Path) -> None:
    report = _check(tiny, "data.negative_share=0.5", "data.sampling.num_steps=32", "pyramid.max_steps=32")
    assert _found(report) == {("error", "no negatives", "training"): 1} and report.stops_a_run
    _change(tiny, video0={"annotations": []})
    assert not _check(tiny, "data.negative_share=0.5").stops_a_run


def test_test_videos_without_an_action_stop_a_run_before_its_first_step(tiny: Path, tmp_path: Path) -> None:
    _change(tiny, video4={"annotations": []}, video5={"annotations": []})
    report = _check(tiny)
    assert _found(report) == {("error", "no actions", "testing"): 1} and report.stops_a_run
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(AnnotationError, match="nothing can be evaluated; .* or train with --not_eval"):
        experiment.train(load_config(tiny), processes=Processes(), folder=folder, deterministic=False)
    assert not folder.path.exists()


def test_broken_videos_stop_testing_but_training_bears_some(tiny: Path) -> None:
    _break(tiny, 1, 5)
    report = _check(tiny)
    assert _found(report) == {("error", "unreadable", "testing"): 1, ("warning", "unreadable", "training"): 1}
    assert report.stops_a_run and report.unusable == ("video1", "video5")
    assert (report.subsets["training"].unusable, report.subsets["testing"].unusable) == (1, 1)
    strict = _check(tiny, "data.max_broken_share=0.2")
    assert ("error", "unreadable", "training") in _found(strict)


def test_an_absent_training_video_always_stops_a_run(tiny: Path) -> None:
    _remove(tiny, 1)
    assert _found(_check(tiny)) == {("error", "file absent", "training"): 1}


def test_the_list_of_unusable_videos_as_data_missing_lets_a_run_through(tiny: Path, tmp_path: Path) -> None:
    """The promise of the command: what it calls an error stops a run, and what it lists makes the run go."""
    _break(tiny, 0, 5)
    _remove(tiny, 1)
    report = _check(tiny, "data.missing=('video2',)")
    assert report.stops_a_run
    with pytest.raises(ValueError, match=r"video[15]\.mp4"):
        _run(load_config(tiny, ["data.missing=('video2',)"]), tmp_path / "stopped")
    report.write_missing(tmp_path / "lists/missing_files.txt")
    assert (tmp_path / "lists/missing_files.txt").read_text() == "video0\nvideo1\nvideo2\nvideo5\n"
    options = [f"data.missing={tmp_path}/lists/missing_files.txt", "training.batch_size=1", "training.epochs=1"]
    again = _check(tiny, *options)
    assert not again.stops_a_run
    _run(load_config(tiny, options), tmp_path / "run")
    assert again.subsets["training"].listed_missing == 3 and again.subsets["testing"].listed_missing == 1
    # Files that are there although they are listed, and a test video that counts though it is not looked at.
    assert _found(again) == {
        ("note", "listed but there", None): 3,
        ("note", "missing in testing", "testing"): 1,
    }


def test_all_findings_are_in_the_list_file_one_per_line(tiny: Path, tmp_path: Path) -> None:
    _break(tiny, 1)
    _remove(tiny, 5)
    _change(tiny, video0={"duration": 9.0})
    report = _check(tiny)
    report.write_findings(tmp_path / "findings.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines()]
    assert [(row["severity"], row["what"], row["subset"], row["video"]) for row in rows] == [
        ("error", "file absent", "testing", "video5"),
        ("warning", "duration", "training", "video0"),
        ("warning", "unreadable", "training", "video1"),
    ]
    assert all(row["detail"] for row in rows)


def test_problems_of_the_annotations_are_counted_by_kind(tiny: Path) -> None:
    rows = [{"segment": segment, "label": "glow"} for segment in ([1, 2], [1, 2], [3, 3], [4, 7], [8, 9])]
    _change(tiny, video0={"annotations": rows})
    assert _found(_check(tiny)) == {
        ("note", "annotation annotated twice", "training"): 1,
        ("note", "annotation without length", "training"): 1,
        ("note", "annotation clamped", "training"): 1,
        ("note", "annotation outside", "training"): 1,
    }


def test_what_cannot_be_read_at_all_is_told_together(tiny: Path, tmp_path: Path) -> None:
    report = _check(
        tiny,
        f"data.annotations={tmp_path}/gone.json",
        f"data.missing={tmp_path}/gone.txt",
        f"evaluation.blocked={tmp_path}/gone_too.json",
        f"backbone.pretrained={tmp_path}/gone.pth",
        "data.class_agnostic=True",
        f"postprocess.video_labels={{'kind': 'untrimmednet', 'path': '{tmp_path}/gone.npy'}}",
    )
    kinds = ("annotations", "blocked list", "class scores", "missing list", "pretrained weights")
    assert _found(report) == {("error", kind, None): 1 for kind in kinds}
    assert report.num_classes is None and report.subsets["training"].annotated == 0


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("data.train_subset=training_set", ("error", "subset", None)),
        ("data.num_classes=3", ("error", "class list", None)),
        ("data.ignore_labels=('flash','glow')", ("error", "no actions", "training")),
        ("data.missing=('video4','video5')", ("error", "subset", "testing")),
    ],
)
def test_settings_that_leave_nothing_to_do_are_errors(tiny: Path, option: str, found: tuple[str, str, str]) -> None:
    assert found in _found(_check(tiny, option))


def test_ids_without_effect_are_told(tiny: Path) -> None:
    report = _check(tiny, "data.missing=('video9',)", "evaluation.blocked=('video5','video0')")
    assert _found(report) == {("note", "blocked list", None): 1, ("note", "missing list", None): 1}
    blocked, missing = report.findings
    assert "1 of 2 blocked ids are of no test video: video0" in blocked.detail
    assert "1 of 1 missing ids are of no annotated video: video9" in missing.detail
    assert report.subsets["testing"].blocked == 1


def test_blocked_videos_need_no_file(tiny: Path) -> None:
    _remove(tiny, 5)
    assert not _check(tiny, "evaluation.blocked=('video5',)").stops_a_run


def test_a_class_that_nothing_is_trained_on_is_told(tiny: Path) -> None:
    (tiny.parent / "category_idx.txt").write_text("flash\nglow\nshine\n")
    report = _check(tiny)
    assert _found(report) == {("warning", "untrained class", "training"): 1}
    assert "'shine'" in report.findings[0].detail and report.num_classes == 3


@pytest.mark.parametrize(
    ("results", "names", "found"),
    [
        ({"video4": [0.5, 0.5], "video5": [0.5, 0.5]}, ["flash", "glow"], {}),
        ({"video4": [0.5, 0.5]}, ["flash", "glow"], {("error", "no class scores", "testing"): 1}),
        (
            {"video4": [0.5, 0.5], "video5": [0.5, 0.5]},
            ["Flash", "glow"],
            {("error", "class names", None): 1},
        ),
    ],
)
def test_the_classifier_must_cover_the_test_videos(
    tiny: Path, tmp_path: Path, results: Any, names: list[str], found: dict[Any, int]
) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"results": results, "class": names}))
    labels = f"postprocess.video_labels={{'kind': 'cuhk', 'path': '{path}'}}"
    assert _found(_check(tiny, "data.class_agnostic=True", labels)) == found


def test_a_class_that_the_classifier_does_not_know_is_told(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    rows = [{"label": "flash", "score": 0.5}]
    path.write_text(json.dumps({"results": {"video4": rows, "video5": rows}}))
    labels = f"postprocess.video_labels={{'kind': 'submission', 'path': '{path}'}}"
    report = _check(tiny, "data.class_agnostic=True", labels)
    assert _found(report) == {("warning", "class names", None): 1} and "'glow'" in report.findings[0].detail


def test_a_video_of_both_subsets_is_checked_once_and_told_for_both(tiny: Path) -> None:
    _break(tiny, 0)
    told: list[tuple[int, int]] = []
    report = _check(tiny, "data.test_subset=training", tell=lambda done, total: told.append((done, total)))
    assert len(told) == 4
    assert _found(report) == {("error", "unreadable", "testing"): 1, ("warning", "unreadable", "training"): 1}


def test_the_original_text_files_of_thumos_take_lengths_from_the_videos(tiny: Path) -> None:
    folder = tiny.parent / "texts"
    folder.mkdir()
    (folder / "Diving_val.txt").write_text("video0  0.5 2.0\nvideo1  1.0 3.0\n")
    (folder / "Diving_test.txt").write_text("video4  0.5 9.0\nvideo9  1.0 3.0\n")
    report = _check(
        tiny, f"data.annotations={folder}", "data.train_subset=Validation", "data.test_subset=Test", decode="none"
    )
    assert _found(report) == {
        ("error", "file absent", "testing"): 1,
        ("warning", "annotation without duration", "testing"): 1,
        ("note", "annotation clamped", "testing"): 1,
    }


def test_the_report_as_json_has_counts_and_an_example_of_each_kind(tiny: Path) -> None:
    _break(tiny, 4, 5)
    content = json.loads(json.dumps(_check(tiny).as_json()))
    assert content["stops_a_run"] is True and content["num_errors"] == 2 and content["num_unusable"] == 2
    (finding,) = content["findings"]
    assert (finding["count"], finding["example"]["video"]) == (2, "video4")
    assert content["subsets"]["testing"]["unusable"] == 2
