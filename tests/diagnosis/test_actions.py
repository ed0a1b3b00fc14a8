"""Which actions are hard to find: their characteristics, bins, normalised mAP and false negatives."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from re2tal.evaluation import EvaluationError, GroundTruth, read_ground_truth
from re2tal.evaluation.diagnosis import diagnose
from re2tal.evaluation.diagnosis.characteristics import PUBLISHED_BINS, characteristics, choose_bins
from tests.diagnosis.plain import PlainDiagnosis, Row, predictions_of, truth_of
from tests.diagnosis.test_errors import TIOUS, VIDEOS, rows


def test_characteristics_of_actions() -> None:
    truth = [Row("a", 0, 10, "run"), Row("a", 20, 22, "jump"), Row("a", 30, 34, "run"), Row("b", 0, 10, "run")]
    values = characteristics(truth_of(truth, durations={"a": 40.0, "b": np.nan}))
    assert values["coverage"].tolist()[:3] == [0.25, 0.05, 0.1] and np.isnan(values["coverage"][3])
    assert values["length"].tolist() == [10, 2, 4, 10]
    assert values["num_instances"].tolist() == [3, 3, 3, 1]  # of all classes


@pytest.mark.parametrize(
    ("name", "characteristic", "values", "expected"),
    [
        ("thumos", "coverage", (0.0, 0.02, 0.0201, 0.08, 0.081, 1.0, 1.3), "XS XS S L XL XL XL"),
        ("thumos", "length", (0.1, 3.0, 3.01, 12.0, 18.0, 18.1, 500.0), "XS XS S M L XL XL"),
        ("thumos", "num_instances", (1, 2, 40, 41, 80, 81), "XS S S M M L"),
        ("anet", "coverage", (0.2, 0.21, 0.6, 0.9), "XS S M XL"),
        ("anet", "length", (30.0, 31.0, 120.0, 180.0, 181.0), "XS S M L XL"),
        ("anet", "num_instances", (1, 4, 5, 8, 9), "XS S M M L"),
    ],
)
def test_published_bins_take_their_upper_bound(
    name: str, characteristic: str, values: tuple[float, ...], expected: str
) -> None:
    placed = PUBLISHED_BINS[name].place(characteristic, np.array(values, np.float64))  # type: ignore[arg-type]
    assert " ".join(("XS", "S", "M", "L", "XL")[place] for place in placed) == expected


def even_truth(*, lengths: list[float], duration: float) -> GroundTruth:
    found = [Row("a", 0, length, "run") for length in lengths]
    return truth_of(found, durations={"a": duration})


def test_bins_are_chosen_by_what_the_actions_look_like() -> None:
    thumos_like = characteristics(even_truth(lengths=[1, 4, 7, 13, 20], duration=250))
    assert choose_bins(thumos_like).name == "thumos"
    anet_like = characteristics(even_truth(lengths=[20, 50, 100, 150, 190], duration=200))
    assert choose_bins(anet_like).name == "anet"
    assert choose_bins(anet_like, name="thumos") is PUBLISHED_BINS["thumos"]
    # Short actions in short videos are neither: all cover much, and none is long.
    assert choose_bins(characteristics(even_truth(lengths=[1, 2, 3, 4, 5], duration=8))).name == "quantiles"
    # Nothing is known of the videos' lengths, as in THUMOS-14's text files.
    unknown = characteristics(even_truth(lengths=[1, 4, 7, 13, 20], duration=np.nan))
    assert choose_bins(unknown).name == "thumos"
    with pytest.raises(EvaluationError, match="bins must be thumos, anet or quantiles, got 'coco'"):
        choose_bins(anet_like, name="coco")


def test_quantiles_share_the_actions_out_evenly() -> None:
    values = characteristics(even_truth(lengths=[0.1 * i for i in range(1, 101)], duration=20))
    bins = choose_bins(values, name="quantiles")
    assert np.bincount(bins.place("length", values["length"])).tolist() == [20] * 5
    assert bins.edges["num_instances"] == (100.0, 100.0)  # one bin is all there is
    assert np.bincount(bins.place("num_instances", values["num_instances"])).tolist() == [100]


def test_quantiles_of_a_frequent_value_are_one_bin() -> None:
    values = characteristics(even_truth(lengths=[1, 1, 1, 1, 1, 2, 3, 4, 5, 6], duration=20))
    bins = choose_bins(values, name="quantiles")
    assert bins.edges["length"] == (1.0, 1.0, 2.0, 4.0, 6.0)
    assert np.bincount(bins.place("length", values["length"])).tolist() == [5, 1, 2, 2]


def test_coverage_is_unknown_where_the_length_of_the_video_is() -> None:
    truth = [Row("a", 0, 10, "run"), Row("b", 0, 10, "run")]
    found = predictions_of([Row("a", 0, 10, "run", 0.9)])
    for bins in ("thumos", "quantiles"):
        coverage = diagnose(
            truth_of(truth, durations={"a": 40.0, "b": np.nan}), found, tious=(0.5,), bins=bins
        ).characteristics[0]
        assert coverage.num_unknown == 1 and sum(item.num_actions for item in coverage.bins) == 1
        nowhere = diagnose(
            truth_of(truth, durations={"a": np.nan, "b": np.nan}), found, tious=(0.5,), bins=bins
        ).characteristics[0]
        assert nowhere.num_unknown == 2 and all(item.normalized_mean_ap is None for item in nowhere.bins)


@pytest.mark.parametrize(("num_false", "rate"), [(18, 0.0), (19, 1.0)])
def test_an_action_found_below_a_precision_of_five_percent_is_missed(num_false: int, rate: float) -> None:
    found = [Row("a", 20, 30, "run", 0.9)] * num_false + [Row("a", 0, 10, "run", 0.8)]
    diagnosis = diagnose(truth_of([Row("a", 0, 10, "run")], durations=VIDEOS), predictions_of(found), tious=(0.5,))
    assert diagnosis.false_negative_rate == (rate,)


@settings(deadline=None, max_examples=150)
@given(rows(min_size=1, max_size=8), rows(max_size=60))
def test_bins_equal_a_plain_loop(truth: list[Row], found: list[Row]) -> None:
    table = truth_of(truth, durations=VIDEOS)
    diagnosis = diagnose(table, predictions_of(found), tious=TIOUS, bins="thumos")
    values = characteristics(table)
    everything = set(range(len(truth)))
    plains = [PlainDiagnosis(truth, found, tiou=tiou) for tiou in TIOUS]
    for place, plain in enumerate(plains):
        missed = plain.missed()
        expected = plain.mean_ap(set(plain.type_of), actions=everything, normalized=True)
        assert diagnosis.normalized_mean_ap[place] == pytest.approx(expected)
        assert diagnosis.false_negative_rate[place] == pytest.approx(len(missed) / len(truth))
        for characteristic in diagnosis.characteristics:
            for item in characteristic.bins:
                chosen = {
                    j
                    for j, value in enumerate(values[characteristic.name])
                    if item.low < value <= item.high or (item.name == "XL" and value > item.high)
                }
                assert item.num_actions == len(chosen)
                if not chosen:
                    assert item.normalized_mean_ap is None and item.false_negative_rate is None
                    continue
                assert item.normalized_mean_ap is not None and item.false_negative_rate is not None
                kept = set.intersection(*(at_tiou.not_about_others(chosen) for at_tiou in plains))
                expected = plain.mean_ap(kept, actions=chosen, normalized=True)
                assert item.normalized_mean_ap[place] == pytest.approx(expected)
                assert item.false_negative_rate[place] == pytest.approx(len(missed & chosen) / len(chosen))


def test_characteristics_of_the_thumos_test_set_are_those_of_detad(data: Path) -> None:
    folder = data / "annotations" / "thumos14"
    for path in (folder / "thumos14.json", folder / "DETAD_thumos14_test_extra_characteristics.json"):
        if not path.is_file():
            pytest.skip(f"no file {path}")
    truth = read_ground_truth(folder / "thumos14.json", subset="Test", as_annotated=True)
    published = json.loads((folder / "DETAD_thumos14_test_extra_characteristics.json").read_text())["database"]
    expected = sorted(
        (video, row["label"], *row["segment"], row["length"], row["num-instances"], row["coverage"])
        for video, entry in published.items()
        for row in entry["annotations"]
    )
    values = characteristics(truth)
    found = sorted(
        zip(
            (truth.video_ids[index] for index in truth.video_index),
            (truth.class_names[index] for index in truth.label_index),
            *truth.segments.T.tolist(),
            values["length"].tolist(),
            values["num_instances"].tolist(),
            values["coverage"].tolist(),
            strict=True,
        )
    )
    assert len(found) == 3358
    assert choose_bins(values).name == "thumos"
    assert [row[:6] for row in found] == [row[:6] for row in expected]
    # DETAD knows the videos' lengths to the millisecond; thumos14.json rounds them to hundredths of a second.
    assert truth.durations is not None
    duration = dict(zip(truth.video_ids, truth.durations.tolist(), strict=True))
    for mine, theirs in zip(found, expected, strict=True):
        assert theirs[4] / theirs[6] == pytest.approx(duration[mine[0]], abs=0.005001)
    bins = PUBLISHED_BINS["thumos"]
    for name, column in (("length", 4), ("num_instances", 5), ("coverage", 6)):
        mine, theirs = (np.array([row[column] for row in table], np.float64) for table in (found, expected))
        np.testing.assert_array_equal(bins.place(name, mine), bins.place(name, theirs))  # type: ignore[arg-type]
