"""Labels from classifiers of whole videos: what is read, what is refused, and how scores are fused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from re2tal.common.types import Detections, Proposals, TimeGrid
from re2tal.data import find_class_names, read_annotations
from re2tal.data.annotations import select_subset
from re2tal.detections import (
    CuhkConfig,
    NmsConfig,
    PostprocessConfig,
    SubmissionConfig,
    TcanetConfig,
    UntrimmedNetConfig,
    VideoScores,
    VideoScoresError,
    detect_window,
    merge_windows,
)


def _write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _cuhk(folder: Path, results: Any = None, names: Any = ("run", "jump", "swim"), *, top: int = 2) -> VideoScores:
    results = {"a": [0.1, 0.7, 0.2], "b": [0.5, 0.2, 0.3]} if results is None else results
    path = _write(folder / "scores.json", {"results": results, "class": names})
    return CuhkConfig(path=path, top=top).read()


def _detections(video_id: str = "a") -> Detections:
    return Detections(
        video_id=video_id,
        segments=torch.tensor([[1.0, 2.0], [3.0, 5.0]]),
        scores=torch.tensor([0.8, 0.5]),
        labels=torch.zeros(2, dtype=torch.int64),
    )


def test_logits_of_tcanet_are_twice_their_softmax(tmp_path: Path) -> None:
    logits = np.array([0.5, 2.0, -1.0])
    path = _write(tmp_path / "scores.json", {"results": {"a": [logits.tolist()]}, "class": ["run", "jump", "swim"]})
    scores = TcanetConfig(path=path).read()
    expected = 2 * np.exp(logits) / np.exp(logits).sum()
    assert [label for label, _ in scores.best["a"]] == [1, 0, 2]
    np.testing.assert_allclose([score for _, score in scores.best["a"]], expected[[1, 0, 2]])


def test_the_names_of_classes_may_be_called_so(tmp_path: Path) -> None:
    path = _write(tmp_path / "scores.json", {"results": {"a": [0.1, 0.7]}, "classes": ["run", "jump"]})
    assert CuhkConfig(path=path, top=1).read().best == {"a": ((1, 0.7),)}


def test_every_segment_is_copied_for_the_best_classes_with_the_product_of_scores(tmp_path: Path) -> None:
    found = _cuhk(tmp_path).label(_detections())
    assert found.video_id == "a"
    assert found.scores.tolist() == pytest.approx([0.8 * 0.7, 0.5 * 0.7, 0.8 * 0.2, 0.5 * 0.2])
    assert found.labels.tolist() == [1, 1, 2, 2]
    assert found.segments.tolist() == [[1, 2], [3, 5], [1, 2], [3, 5]]


def test_the_number_of_classes_is_a_choice(tmp_path: Path) -> None:
    assert _cuhk(tmp_path, top=1).label(_detections()).labels.tolist() == [1, 1]
    assert sorted(_cuhk(tmp_path, top=3).label(_detections("b")).labels.tolist()) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(VideoScoresError, match=r"video_labels.top must be at most the 3 classes of .*, got 4"):
        _cuhk(tmp_path, top=4)
    with pytest.raises(ValidationError):
        CuhkConfig(path=tmp_path, top=0)


def test_no_detections_stay_none(tmp_path: Path) -> None:
    nothing = Detections(
        video_id="a", segments=torch.zeros(0, 2), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64)
    )
    found = _cuhk(tmp_path).label(nothing)
    assert found.segments.shape == (0, 2) and found.labels.dtype == torch.int64


GRID = TimeGrid(start_seconds=0.0, seconds_per_step=0.5, duration_seconds=30.0)
PROPOSALS = Proposals(
    segments=torch.tensor([[0.0, 8.0], [0.5, 8.0], [20.0, 60.0]]), scores=torch.tensor([[0.9], [0.8], [0.6]])
)


def test_whole_videos_are_labelled_after_suppression(tmp_path: Path) -> None:
    """Had they been labelled before, the two copies of a segment would suppress each other."""
    config = PostprocessConfig(nms=NmsConfig(per_class=False))
    plain = detect_window(PROPOSALS, grid=GRID, video_id="a", config=config, merged_later=False)
    labels = _cuhk(tmp_path)
    found = detect_window(PROPOSALS, grid=GRID, video_id="a", config=config, merged_later=False, video_labels=labels)
    assert len(found.scores) == 2 * len(plain.scores)
    for label, score in ((1, 0.7), (2, 0.2)):
        of_class = found.labels == label
        torch.testing.assert_close(found.scores[of_class], plain.scores * score)
        assert torch.equal(found.segments[of_class], plain.segments)


def test_windows_are_labelled_before_they_are_merged_per_class(tmp_path: Path) -> None:
    config = PostprocessConfig(nms=NmsConfig(per_class=True))
    labels = _cuhk(tmp_path)
    window = detect_window(PROPOSALS, grid=GRID, video_id="a", config=config, merged_later=True, video_labels=labels)
    assert window.scores.tolist() == pytest.approx([0.63, 0.56, 0.42, 0.18, 0.16, 0.12])
    merged = merge_windows([window, window], config=config)
    assert set(merged.labels.tolist()) == {1, 2}
    # Each class is suppressed as if it were alone: soft-NMS multiplies scores, so their ratio stays.
    first, second = (merged.scores[merged.labels == label].topk(2).values for label in (1, 2))
    torch.testing.assert_close(first / 0.7, second / 0.2)


def test_scores_of_untrimmednet_are_high_for_what_the_test_videos_show(data: Path) -> None:
    """In the real file and with the real annotations: the twenty columns are the right ones."""
    path, annotation_file = data / "classifier/uNet_test.npy", data / "annotations/thumos14/thumos14.json"
    if not path.is_file() or not annotation_file.is_file():
        pytest.skip(f"no file {path} or {annotation_file}")
    labels = UntrimmedNetConfig(path=path, top=2).read()
    annotations = read_annotations(annotation_file)
    assert labels.class_names == find_class_names(annotations)
    assert len(labels.best) == 1574 and "video_test_0001574" in labels.best
    videos = [video for video in select_subset(annotations, "Test") if video.actions]
    labels.check(video_ids=[video.video_id for video in videos], labels=labels.class_names)
    right = np.zeros(2, int)
    for video in videos:
        shown = {action.label for action in video.actions}
        guesses = [labels.class_names[index] in shown for index, _ in labels.best[video.video_id]]
        right += guesses[0], any(guesses)
    assert len(videos) >= 210
    assert right[0] > 0.9 * len(videos) and right[1] > 0.95 * len(videos)


def test_columns_of_untrimmednet_are_ucf101s_classes(tmp_path: Path) -> None:
    table = np.zeros((3, 101), np.float32)
    table[0, 9 - 1], table[0, 10 - 1] = 1.5, 1.9  # BasketballDunk, and one of the classes that THUMOS does not use
    table[2, 97 - 1], table[2, 7 - 1] = 0.4, 0.3
    np.save(tmp_path / "scores.npy", table)
    labels = UntrimmedNetConfig(path=tmp_path / "scores.npy", top=2).read()
    named = {
        video_id: [(labels.class_names[index], pytest.approx(score)) for index, score in best]
        for video_id, best in labels.best.items()
    }
    assert named["video_test_0000001"][0] == ("BasketballDunk", 1.5)
    assert named["video_test_0000003"] == [("VolleyballSpiking", 0.4), ("BaseballPitch", 0.3)]


@pytest.mark.parametrize("prefix", ["", "v_"])
def test_a_file_of_cuhks_layout_labels_the_videos_of_activitynet(data: Path, tmp_path: Path, prefix: str) -> None:
    folder = data / "annotations/activitynet"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    annotations = read_annotations(folder / "anet_anno_action.json", subset_file=folder / "video_info_new.csv")
    names = find_class_names(annotations)
    videos = select_subset(annotations, "validation")
    rng = np.random.default_rng(0)
    # Not in alphabetical order: the file's own order counts.
    shuffled = [names[index] for index in rng.permutation(len(names))]
    table = rng.random((len(videos), 200)) / 200
    for row, video in enumerate(videos):
        for action in video.actions:
            table[row, shuffled.index(action.label)] = 0.9
    results = {prefix + video.video_id: row for video, row in zip(videos, table.round(6).tolist(), strict=True)}
    path = _write(tmp_path / "cuhk_val_simp_7.json", {"results": results, "class": shuffled})
    labels = CuhkConfig(path=path).read()
    labels.check(video_ids=[video.video_id for video in videos], labels=names)
    assert labels.class_names == tuple(shuffled) and len(labels.best) == 4728
    for video in videos:
        best, second = labels.best[video.video_id]
        assert best[1] >= second[1]
        if video.actions:
            assert labels.class_names[best[0]] in {action.label for action in video.actions}


def test_a_classification_submission_is_read(data: Path) -> None:
    path = data / "classifier/anet_sample_classification_prediction.json"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    labels = SubmissionConfig(path=path).read()
    assert len(labels.best) == 4926 and len(labels.class_names) == 200
    named = [(labels.class_names[index], score) for index, score in labels.best["cyznGwlE9hM"]]
    assert named == [("Discus throw", 1.0), ("Shot put", 1.0)]
    assert len(labels.best["wONwHYy59Tc"]) == 1, "what the file does not name is not made up"


def test_a_label_that_a_submission_names_twice_keeps_its_better_score(tmp_path: Path) -> None:
    rows = [{"label": "run", "score": 0.2}, {"label": "run", "score": 0.6}, {"label": "jump", "score": 0.1}]
    path = _write(tmp_path / "scores.json", {"results": {"a": rows, "b": []}})
    labels = SubmissionConfig(path=path, top=2).read()
    assert labels.class_names == ("jump", "run")
    assert labels.best == {"a": ((1, 0.6), (0, 0.1)), "b": ()}
    assert labels.label(_detections("b")).scores.shape == (0,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable JSON file"),
        ([], r"must hold .*results.*class.*got \[\]; choose the right postprocess.video_labels.kind"),
        ({"class": ["run"]}, r"got an object with keys \['class'\]"),
        ({"results": {"a": [1]}}, 'names of its classes under "class", got None'),
        ({"results": {"a": [1]}, "class": [1]}, r"under \"class\", got \[1\]"),
        ({"results": {"a": [1, 2]}, "class": ["run", "run"]}, "every class once, got twice: run"),
        ({"results": {"a": [1, 2]}, "class": ["x", "y", "z"]}, "video 'a': .*each of the 3 classes, got 2 scores"),
        ({"results": {"a": {"x": 1}}, "class": ["x"]}, r"of the 1 classes, got \{'x': 1\}"),
        ({"results": {"a": ["high"]}, "class": ["x"]}, "every score must be a number"),
        ('{"results": {"a": [0.1, NaN]}, "class": ["x", "y"]}', "video 'a': scores must be finite"),
        ({"results": {"a": [1, 2], "b": [-3.5, -4]}, "class": ["x", "y"]}, "'b': .*got -4 to -3.5 .*logits"),
    ],
)
def test_a_file_of_another_layout_than_cuhks_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = _write(tmp_path / "scores.json", content)
    with pytest.raises(VideoScoresError, match=message):
        CuhkConfig(path=path).read()


@pytest.mark.parametrize(
    "row", [3, {"label": "run"}, {"label": 1, "score": 1}, {"label": "run", "score": -1}, {"label": "a", "score": "1"}]
)
def test_a_submission_of_another_layout_is_refused(tmp_path: Path, row: Any) -> None:
    path = _write(tmp_path / "scores.json", {"results": {"a": [row]}})
    with pytest.raises(VideoScoresError, match="video 'a': must have a list of"):
        SubmissionConfig(path=path).read()


def test_an_array_that_is_not_untrimmednets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    for array, message in (
        (np.zeros((5, 20)), r"must hold \(videos, 101\) numbers, got float64 \(5, 20\)"),
        (np.zeros(101), r"got float64 \(101,\)"),
        (np.zeros((5, 101), "U3"), r"got <U3 \(5, 101\)"),
        (np.full((5, 101), np.nan), "video 'video_test_0000001': scores must be finite"),
    ):
        np.save(path, array)
        with pytest.raises(VideoScoresError, match=message):
            UntrimmedNetConfig(path=path).read()
    np.save(path, np.array([{"code": "run me"}]), allow_pickle=True)
    with pytest.raises(VideoScoresError, match="not a readable NPY file of numbers"):
        UntrimmedNetConfig(path=path).read()
    np.savez(tmp_path / "scores.npz", a=np.zeros((5, 101)))
    with pytest.raises(VideoScoresError, match="not a readable NPY file of numbers"):
        UntrimmedNetConfig(path=tmp_path / "scores.npz").read()


def test_a_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    for config in (CuhkConfig(path=tmp_path / "gone"), UntrimmedNetConfig(path=tmp_path / "gone")):
        with pytest.raises(VideoScoresError, match=r"no .*class scores at .*gone; set postprocess.video_labels.path"):
            config.read()


def test_test_videos_without_scores_are_named(tmp_path: Path) -> None:
    labels = _cuhk(tmp_path)
    labels.check(video_ids=["a", "b", "a"], labels=["run"])
    assert labels.lacking(["a", "d", "c", "d"]) == ["d", "c"]
    with pytest.raises(VideoScoresError, match=r"no class scores of 2 test videos: d, c; .*data.missing.*ids like 'a'"):
        labels.check(video_ids=["a", "d", "c", "d"], labels=[])
    with pytest.raises(VideoScoresError, match="1 test videos: c"):
        labels.label(_detections("c"))


def test_class_names_that_are_written_differently_are_refused(tmp_path: Path) -> None:
    labels = _cuhk(tmp_path)
    labels.check(video_ids=[], labels=["run", "jump"])  # the classifier knows more
    labels.check(video_ids=[], labels=["run", "jump", "swim", "dive"])  # it knows less
    assert labels.unknown(["run", "dive"]) == ["dive"]
    with pytest.raises(VideoScoresError, match=r"not know 1 of the annotated classes: Swim \(is 'swim' meant\?\)"):
        labels.check(video_ids=[], labels=["run", "jump", "Swim"])


def test_the_classifier_is_chosen_by_its_kind() -> None:
    config = PostprocessConfig.model_validate({"video_labels": {"kind": "untrimmednet", "path": "x.npy"}})
    assert config.video_labels == UntrimmedNetConfig(path=Path("x.npy"), top=2)
    assert PostprocessConfig.model_validate(config.model_dump()) == config
    with pytest.raises(ValidationError, match="cuhk"):
        PostprocessConfig.model_validate({"video_labels": {"kind": "unet", "path": "x.npy"}})
