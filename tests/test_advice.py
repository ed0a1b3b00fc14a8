"""What an error advises helps in the situation that it is given in."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import ConfigError, load_config
from re2tal.data import AnnotationError, annotations_of, training_clips
from re2tal.evaluation import EvaluationError, read_ground_truth
from re2tal.experiments.checking import check_data
from re2tal.training import CheckpointError
from re2tal.training.batches import GlobalBatches
from re2tal.training.checkpoint import load_checkpoint
from re2tal.training.distributed import Processes
from re2tal.video import MissingVideoError
from tests.labels.support import bring_in
from tests.tiny_experiment import make_tiny_experiment


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_experiment(tmp_path)


def clips_of(tiny: Path, *options: str) -> Any:
    config = load_config(tiny, options)
    return training_clips(config.data, config.augment, seed=0, annotations=annotations_of(config.data))


def test_actions_that_are_left_out_as_too_short_can_be_kept(tiny: Path) -> None:
    whole = ["data.sampling={'kind':'resize','num_steps':16,'frames_per_step':2,'min_share':0.9}"]
    with pytest.raises(AnnotationError, match=r"all 8 actions .* data\.sampling\.min_share=0 keeps them"):
        clips_of(tiny, *whole)
    assert len(clips_of(tiny, *whole, "data.sampling.min_share=0")) == 4


@pytest.mark.parametrize(
    ("clips", "accumulate", "fix"), [(7, 3, "training.batch_size=6 or less"), (2, 3, "add videos")]
)
def test_the_batch_size_that_is_advised_can_be_had(clips: int, accumulate: int, fix: str) -> None:
    with pytest.raises(ValueError, match=fix) as told:
        GlobalBatches(clips, batch_size=12, accumulate=accumulate)
    if "batch_size=6" in str(told.value):
        assert GlobalBatches(clips, batch_size=6, accumulate=accumulate).steps_per_epoch == 1
    else:
        assert "accumulate" in str(told.value) and "training.batch_size=" not in str(told.value)
    with pytest.raises(ValueError, match="start fewer processes"):
        GlobalBatches(1, batch_size=2, processes=Processes(world_size=2))


def test_a_subset_that_is_not_there_is_answered_with_those_that_are(tiny: Path) -> None:
    with pytest.raises(AnnotationError, match=r"has 'training', 'validation'.*set data\.train_subset"):
        clips_of(tiny, "data.train_subset=train")
    with pytest.raises(EvaluationError, match="has 'training', 'validation': name one of these"):
        read_ground_truth(tiny.parent / "annotations.json", subset="test")


def test_one_annotated_video_cannot_be_split(tiny: Path) -> None:
    table = tiny.parent / "labels.csv"
    table.write_text("video,start,end,label\nvideo0,1,2,a\n")
    (hint,) = bring_in(table, videos=tiny.parent / "videos").report.hints
    assert "annotate another video" in hint and "split" not in hint
    table.write_text("video,start,end,label,subset\nvideo0,1,2,a,training\nvideo1,1,2,a,training\n")
    (hint,) = bring_in(table, videos=tiny.parent / "videos").report.hints
    assert "--resplit" in hint
    assert not bring_in(table, videos=tiny.parent / "videos", resplit=True).report.hints


def test_where_one_video_shows_actions_a_split_is_not_advised(tiny: Path) -> None:
    truth = tiny.parent / "more.json"
    entries = {
        f"video{number}": {"subset": subset, "annotations": [{"segment": [1, 2], "label": "a"}] if not number else []}
        for number, subset in enumerate(("training", "validation"))
    }
    truth.write_text(json.dumps({"database": entries}))
    (hint,) = bring_in(truth, videos=tiny.parent / "videos").report.hints
    assert "label another video" in hint and "--resplit" not in hint


def test_another_unit_is_advised_for_tables_alone(tiny: Path) -> None:
    """The other formats tell theirs."""
    rows = [{"segment": [20 + n, 30 + n], "label": "a"} for n in range(4)]
    (tiny.parent / "late.json").write_text(json.dumps({"database": {"video0": {"annotations": rows}}}))
    (tiny.parent / "late.csv").write_text("video,start,end,label\n" + "video0,20,30,a\n" * 4)
    told = {
        kind: any("--unit frames" in hint for hint in bring_in(path, videos=tiny.parent / "videos").report.hints)
        for kind in ("json", "csv")
        for path in [tiny.parent / f"late.{kind}"]
    }
    assert told == {"json": False, "csv": True}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import sys; sys.exit(3)", "cannot be run: SystemExit: 3"),
        ("config = 3", "assigns an int"),
        ("config = (", "line 1 cannot be run: SyntaxError"),
        ("\0", "cannot be run: SyntaxError"),
    ],
)
def test_a_config_file_that_is_none_is_told(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=fault):
        load_config(path)
    with pytest.raises(ConfigError, match="is a folder; give the path of a Python file"):
        load_config(tmp_path)


def test_of_a_folder_in_place_of_a_checkpoint_the_best_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder; give the path of an epoch"):
        load_checkpoint(tmp_path)
    best = tmp_path / "checkpoint/best.pth"
    best.parent.mkdir()
    best.touch()
    for folder in (tmp_path, best.parent):
        with pytest.raises(CheckpointError, match=rf"is a folder; give the path of {best}"):
            load_checkpoint(folder)


def test_labels_that_only_import_reads_are_sent_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("video,start,end,label\na,1,2,b\n")
    Path("list.json").write_text('{"database": []}')
    with pytest.raises(EvaluationError, match="brought to ActivityNet's layout by re2tal import FILE --videos FOLDER"):
        read_ground_truth("labels.csv", subset="validation")
    with pytest.raises(EvaluationError, match=r"got a database that is \[\]"):
        read_ground_truth("list.json", subset="validation")
    with pytest.raises(EvaluationError, match=rf"no ground truth at none\.json \(looked for in {tmp_path}\)"):
        read_ground_truth("none.json", subset="validation")


def test_weights_that_training_would_refuse_are_told_by_check_data(tiny: Path) -> None:
    report = check_data(load_config(tiny, [f"backbone.pretrained={tiny}"]), jobs=1, decode="none")
    assert [(found.severity, found.what) for found in report.findings] == [("error", "pretrained weights")]
    assert "is text, not weights" in report.findings[0].detail


def test_a_label_of_nothing_is_no_class(tiny: Path) -> None:
    path = tiny.parent / "annotations.json"
    content = json.loads(path.read_text())
    content["database"]["video0"]["annotations"].append({"segment": [1.0, 2.0], "label": " "})
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=r'must have a "label" \(text\).*got .*\' \''):
        clips_of(tiny)


def test_names_whose_accents_are_stored_otherwise_are_told(tiny: Path) -> None:
    stored, written = unicodedata.normalize("NFD", "pét"), unicodedata.normalize("NFC", "Pét")
    (tiny.parent / "videos/video0.mp4").rename(tiny.parent / f"videos/{stored}.mp4")
    path = tiny.parent / "annotations.json"
    path.write_text(path.read_text().replace("video0", written))
    with pytest.raises(MissingVideoError, match=r"there is 'pe\\u0301t\.mp4', and 'P\\xe9t\.mp4' is asked for"):
        clips_of(tiny)
    (tiny.parent / f"videos/{stored}.mp4").rename(tiny.parent / f"videos/{written}.mp4")
    assert len(clips_of(tiny)) == 4
