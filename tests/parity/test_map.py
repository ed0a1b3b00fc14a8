"""The metric is that of the reference implementation and of ActivityNet's own evaluation code."""

import json
from pathlib import Path

import pytest

from re2tal.evaluation import MapResult, evaluate_files

FIVE_TO_NINETY_FIVE = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))


def _existing(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            pytest.skip(f"no file {path}")


@pytest.mark.parametrize(("case", "blocked"), [("thumos", None), ("anet", None), ("anet_blocked", "map_blocked.json")])
def test_map_equals_the_reference(goldens: Path, case: str, blocked: str | None) -> None:
    files = [goldens / name for name in ("map_gt.json", "map_pred.json", "map_result.json")]
    _existing(*files)
    expected = json.loads(files[2].read_text())[case]
    means = {name: value for name, value in expected["metrics"].items() if "mAP" in name}
    recalls = {name: value for name, value in expected["metrics"].items() if "recall" in name}
    tious = sorted(float(name.removeprefix("mAP@")) for name in means if "@" in name)
    result = evaluate_files(
        files[0],
        files[1],
        subset="validation",
        tious=tious,
        blocked=None if blocked is None else goldens / blocked,
        count_other_videos=True,
        recall_multiples=(1, 5) if recalls else (),
    )
    assert {name: result.metrics[name] for name in means} == pytest.approx(means, abs=1e-9)
    for name, value in recalls.items():
        _, tiou, multiple = name.split("@")
        assert result.metrics[f"recall@{multiple}x@{tiou}"] == pytest.approx(value, abs=1e-9)
    for name, values in expected.get("ap", {}).items():
        assert result.per_class[name] == pytest.approx(values, abs=1e-9)
    if "n_gt" in expected:
        assert result.num_actions == expected["n_gt"]
        assert result.num_predictions + result.num_other_classes == expected["n_pred"]


def _activitynet(data: Path, *, count_other_videos: bool) -> MapResult:
    folder = data / "annotations" / "activitynet"
    predictions = data / "predictions" / "anet_sample_detection_prediction.json"
    _existing(predictions, folder / "anet_anno_action.json", folder / "video_info_new.csv")
    return evaluate_files(
        folder / "anet_anno_action.json",
        predictions,
        subset="validation",
        tious=FIVE_TO_NINETY_FIVE,
        subset_file=folder / "video_info_new.csv",
        as_annotated=True,
        count_other_videos=count_other_videos,
    )


def test_sample_submission_to_activitynet_has_its_stated_map(data: Path) -> None:
    result = _activitynet(data, count_other_videos=True)
    assert result.num_videos == 4728
    assert result.per_tiou == pytest.approx([0.97198] * 10, abs=5e-6)


def test_copies_of_the_ground_truth_are_perfect_once_other_videos_are_left_out(data: Path) -> None:
    result = _activitynet(data, count_other_videos=False)
    assert result.per_tiou == pytest.approx([1.0] * 10, abs=1e-12)
    assert result.num_other_videos > 0


def test_real_detections_of_one_class_have_their_stated_map(data: Path) -> None:
    folder = data / "predictions" / "sit"
    _existing(folder / "Sit_label.json", folder / "eval_results.npz")
    result = evaluate_files(
        folder / "Sit_label.json", folder / "eval_results.npz", subset="validation", tious=FIVE_TO_NINETY_FIVE
    )
    assert result.num_videos == 56
    found = [result.metrics[name] for name in ("mAP@0.5", "mAP@0.75", "mAP@0.95", "average_mAP")]
    assert found == pytest.approx([0.9955, 0.9082, 0.0, 0.67939], abs=5e-5)
