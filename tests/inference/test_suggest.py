"""What to label next: uncertain stretches that are unlike each other and not labelled yet."""

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from re2tal.common.labelled import without
from re2tal.data import ClipStream, batches_of
from re2tal.inference import load_trained
from re2tal.inference.suggesting import (
    VideoTrace,
    binary_entropy,
    by_video,
    cut_stretches,
    moment_scores,
    rank_by_uncertainty,
    rank_by_use,
    read_trace,
    stretch_seconds,
    suggest,
    trace_clips,
    write_trace,
)
from re2tal.inference.suggesting.ranking import median_distance, similarity, standardised
from re2tal.inference.suggesting.stretches import uncertainty_of
from tests.inference.conftest import ONE_BY_ONE


def random_stretches(seed: int, count: int, num_known: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "features": rng.normal(size=(count, 3)),
        "uncertainty": rng.uniform(0.05, 1, count),
        "seconds": rng.uniform(5, 60, count),
        "known": rng.normal(size=(num_known, 3)),
    }


def worth(chosen: list[int], *, features: Any, uncertainty: Any, seconds: Any, known: Any) -> float:
    """F of the docstring, one stretch after the other."""
    everything = np.concatenate([features, known])
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(everything, 2)]
    median = float(np.median(distances))

    def k(a: Any, b: Any) -> float:
        return math.exp(-2 * float(((a - b) ** 2).sum()) / median**2)

    total = 0.0
    for i, own in enumerate(features):
        represented = [uncertainty[j] * k(own, features[j]) for j in chosen] + [k(own, other) for other in known]
        total += seconds[i] * uncertainty[i] * max(represented, default=0.0)
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_known", [0, 3])
def test_ranking_takes_what_adds_most_per_second(seed: int, num_known: int) -> None:
    given = random_stretches(seed, 9, num_known)
    picks = rank_by_use(**given, budget_seconds=1e9)
    chosen: list[int] = []
    first = None
    for pick in picks:
        before = worth(chosen, **given)
        gains = {j: (worth([*chosen, j], **given) - before) / given["seconds"][j] for j in range(9) if j not in chosen}
        first = first or max(gains.values())
        assert gains[pick.index] == pytest.approx(max(gains.values()), abs=1e-9)
        assert pick.gain == pytest.approx(gains[pick.index] / first, abs=1e-9)
        chosen.append(pick.index)
    assert sorted(chosen) == list(range(9))
    assert [pick.gain for pick in picks] == sorted((pick.gain for pick in picks), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_ranking_comes_near_the_best_set(seed: int) -> None:
    given = random_stretches(seed, 8) | {"seconds": np.full(8, 10.0)}
    chosen = [pick.index for pick in rank_by_use(**given, budget_seconds=30.0)]
    nothing = worth([], **given)
    best = max(worth(list(some), **given) - nothing for some in combinations(range(8), 3))
    assert len(chosen) == 3
    assert worth(chosen, **given) - nothing >= (1 - 1 / math.e) * best


def test_look_alikes_do_not_come_first() -> None:
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(1, 4)), 10, axis=0) + rng.normal(scale=1e-3, size=(10, 4))
    others = rng.normal(size=(4, 4)) * 3
    numbers = {"uncertainty": np.r_[np.full(10, 0.9), np.full(4, 0.6)], "seconds": np.full(14, 30.0)}
    features = np.concatenate([alike, others])
    five = rank_by_use(features, **numbers, known=np.zeros((0, 4)), budget_seconds=150.0)
    assert sorted(pick.index for pick in five)[1:] == [10, 11, 12, 13]
    by_uncertainty = rank_by_uncertainty(**numbers, budget_seconds=150.0)
    assert all(pick.index < 10 for pick in by_uncertainty)


def test_what_is_like_the_labelled_comes_last() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(6, 4))
    picks = rank_by_use(
        features, uncertainty=np.full(6, 0.8), seconds=np.full(6, 20.0), known=features[2:3], budget_seconds=1e9
    )
    assert picks[-1].index == 2
    assert picks[-1].novelty == pytest.approx(0)


@pytest.mark.parametrize("rank", ["use", "uncertainty"])
def test_the_budget_is_kept_and_one_is_always_named(rank: str) -> None:
    given = random_stretches(3, 20)

    def chosen(budget: float) -> list[int]:
        if rank == "use":
            return [pick.index for pick in rank_by_use(**given, budget_seconds=budget)]
        numbers = {name: given[name] for name in ("uncertainty", "seconds")}
        return [pick.index for pick in rank_by_uncertainty(**numbers, budget_seconds=budget)]

    for budget in (70.0, 200.0, 400.0):
        assert given["seconds"][chosen(budget)].sum() <= budget
    assert len(chosen(0.001)) == 1
    assert sorted(chosen(1e9)) == list(range(20))


def test_nothing_to_rank_gives_nothing() -> None:
    assert rank_by_use(np.zeros((0, 3)), uncertainty=np.zeros(0), seconds=np.zeros(0), known=np.zeros((2, 3)),
                       budget_seconds=1.0) == []  # fmt: skip


def test_equal_stretches_are_ranked_without_a_distance() -> None:
    picks = rank_by_use(np.zeros((3, 2)), uncertainty=np.ones(3), seconds=np.ones(3), known=np.zeros((0, 2)),
                        budget_seconds=9.0)  # fmt: skip
    assert sorted(pick.index for pick in picks) == [0, 1, 2]
    assert median_distance(np.zeros((3, 2))) == 1.0
    assert not standardised(np.full((3, 2), 7.0)).any()


def test_similarity_is_of_distances() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = [[math.exp(-2 * float(((x - y) ** 2).sum()) / 2.5**2) for y in b] for x in a]
    np.testing.assert_allclose(similarity(a, b, median=2.5), expected)


def test_entropy_is_in_bits() -> None:
    np.testing.assert_allclose(binary_entropy(np.array([0, 1, 0.5, 0.25])), [0, 0, 1, 0.8112781244591328])


@given(
    duration=st.floats(1, 500),
    points=st.lists(st.floats(0, 500), max_size=8),
    seconds=st.floats(1, 60),
    busy=st.lists(st.floats(0, 1), min_size=1, max_size=50),
)
def test_stretches_never_overlap_what_is_labelled(
    duration: float, points: list[float], seconds: float, busy: list[float]
) -> None:
    points = sorted(point for point in points if point < duration)
    labelled = tuple(pair for pair in zip(points[::2], points[1::2], strict=False) if pair[0] < pair[1])
    gaps = without(((0.0, duration),), labelled)
    moments = np.resize(busy, math.ceil(duration / 0.25))
    found = cut_stretches(gaps, seconds=seconds, busy=moments)
    for start, end in found:
        assert 0 <= start < end <= duration and end - start <= 2 * seconds + 1
        assert all(end <= other_start or start >= other_end for other_start, other_end in labelled)
    assert all(left[1] <= right[0] for left, right in zip(found, found[1:], strict=False))
    # Nothing is lost but seams of milliseconds, and pieces of which one is below a second.
    covered = sum(end - start for start, end in found)
    pieces = sum(max(round((end - start) / seconds), 1) for start, end in gaps)
    assert covered >= sum(end - start for start, end in gaps) - 1.003 * pieces


def test_cuts_avoid_actions() -> None:
    busy = np.zeros(240)  # 60 s
    busy[112:132] = 0.9  # 28 to 33 s: an even cut at 30 s would run through it
    (first, second) = cut_stretches(((0.0, 60.0),), seconds=30.0, busy=busy)
    assert first[1] == second[0] and not 28 < first[1] < 33


def test_moments_have_the_best_score_of_each_class() -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 9, 30)
    segments = np.stack([starts, starts + rng.uniform(0, 2, 30)], axis=1)
    scores, labels = rng.uniform(0, 1, 30), rng.integers(0, 3, 30)
    found = moment_scores(segments, scores, labels, num_classes=3, duration=10.0)
    for moment in range(40):
        for label in range(3):
            here = [
                score
                for (start, end), score, own in zip(segments, scores, labels, strict=True)
                if own == label and math.floor(start / 0.25) <= moment <= math.floor(end / 0.25)
            ]
            assert found[moment, label] == pytest.approx(max(here, default=0.0))


def test_what_is_between_yes_and_no_is_uncertain() -> None:
    segments, labels = np.array([[2.0, 6.0], [12.0, 16.0]]), np.array([0, 1])
    scores = np.array([0.5, 0.99])
    moments = moment_scores(segments, scores, labels, num_classes=2, duration=20.0)
    found = {"moments": moments, "segments": segments, "scores": scores, "labels": labels}
    unsure, sure = uncertainty_of((0.0, 10.0), **found), uncertainty_of((10.0, 20.0), **found)
    nothing = uncertainty_of((17.0, 20.0), **found)
    assert unsure.bits > 0.6 and (unsure.num_unsure, unsure.label) == (1, 0)
    assert sure.bits < 0.1 and (sure.num_unsure, sure.num_found, sure.label) == (0, 1, None)
    assert nothing.bits == 0 and nothing.label is None


def test_stretches_are_as_long_as_the_window_within_bounds() -> None:
    assert [stretch_seconds(window) for window in (3.0, 34.0, 600.0)] == [20.0, 34.0, 60.0]


def trace(video_id: str, *, seed: int = 0, duration: float = 100.0) -> VideoTrace:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, duration - 5, 20)
    return VideoTrace(
        video_id=video_id,
        duration_seconds=duration,
        segments=np.stack([starts, starts + 4], axis=1),
        scores=rng.uniform(0, 1, 20).astype(np.float32),
        labels=rng.integers(0, 2, 20),
        features=rng.normal(size=(math.ceil(duration), 4)).astype(np.float32),
        cell_seconds=1.0,
        window_seconds=10.0,
    )


@pytest.mark.parametrize("by", ["use", "uncertainty"])
def test_suggestions_leave_out_what_is_labelled(by: Any) -> None:
    traces = [trace("a"), trace("b", seed=1), trace("c", seed=2)]
    labelled = {"a": None, "b": ((20.0, 45.5), (70.0, 100.0))}
    found = suggest(traces, class_names=("x", "y"), labelled=labelled, budget_seconds=1e9, by=by)
    assert {item.video for item in found} == {"b", "c"}
    for item in found:
        spans = labelled.get(item.video) or ()
        assert all(item.end <= start or item.start >= end for start, end in spans)
    assert sum(item.end - item.start for item in found) == pytest.approx(44.5 + 100, abs=0.1)
    assert found[0].score == 1.0


@pytest.mark.parametrize("by", ["use", "uncertainty"])
def test_videos_without_any_detection_are_suggested_all_the_same(by: Any) -> None:
    none = {"segments": np.zeros((0, 2)), "scores": np.zeros(0, np.float32), "labels": np.zeros(0, int)}
    traces = [replace(trace(name, seed=seed), **none) for seed, name in enumerate("ab")]
    found = suggest(traces, class_names=(), labelled={}, budget_seconds=1e9, by=by)
    assert {item.video for item in found} == {"a", "b"}
    assert sum(item.end - item.start for item in found) == pytest.approx(200)
    assert all(item.why.startswith("next to nothing found") and math.isfinite(item.score) for item in found)


def test_an_id_below_another_folder_is_the_same_video() -> None:
    said = {"day1/m1": 1, "m2": 2, "x/m3": 3, "y/m3": 4, "abcdefghijk": 5}
    assert by_video(["m1", "cage/m2", "m3", "m4", "v_abcdefghijk"], said) == {"m1": 1, "cage/m2": 2, "v_abcdefghijk": 5}
    assert by_video(["x/m3", "z/m3"], said) == {"x/m3": 3}
    assert by_video(["day1/m1", "m1"], said) == {"day1/m1": 1}  # which has its own labels already


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, kept = tmp_path / "deep" / "v.safetensors", trace("ü/v")
    write_trace(path, kept, about={"bytes": 3})
    read = read_trace(path, about={"bytes": 3})
    assert read is not None and (read.video_id, read.duration_seconds) == ("ü/v", 100.0)
    for name in ("segments", "scores", "labels", "features"):
        np.testing.assert_array_equal(getattr(read, name), getattr(kept, name))
    assert read_trace(path, about={"bytes": 4}) is None
    path.write_bytes(path.read_bytes()[:200])
    assert read_trace(path, about={"bytes": 3}) is None


def test_features_of_a_video_are_means_of_its_pyramid(checkpoint: Path, tiny: Path) -> None:
    trained = load_trained(checkpoint, options=[ONE_BY_ONE])
    path = tiny.parent / "videos" / "video5.mp4"

    def batches() -> Any:
        return batches_of(ClipStream(path, video_id="v", config=trained.config.data), size=1)

    found = trace_clips(
        trained.model, batches(), config=trained.config, device=torch.device("cpu"), duration_seconds=6.0
    )
    sums, counts = np.zeros((6, 8)), np.zeros(6)
    for batch in batches():
        with torch.no_grad():
            levels, masks = trained.model.pyramid(trained.model.backbone(batch.frames, 16), batch.mask)
        for step in range(int(masks[0].sum())):
            second = int(batch.grids[0].start_seconds + (step + 0.5) * batch.grids[0].seconds_per_step)
            sums[second] += levels[0][0, :, step].numpy()
            counts[second] += 1
    np.testing.assert_allclose(found.features, sums / counts[:, None], atol=1e-5)
    assert found.window_seconds == pytest.approx(4.0)


class TestCommand:
    """On the tiny videos, of 6 s each."""

    def test_it_suggests_what_is_not_labelled_and_looks_at_nothing_twice(
        self, re2tal: Any, checkpoint: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        videos, out = tiny.parent / "videos", tmp_path / "next.json"
        labels = tmp_path / "labels.json"
        entry = {"subset": "training", "duration": 6.0, "annotations": []}
        labels.write_text(json.dumps({"database": {"video0": entry, "video1": {**entry, "labelled": [[0, 3.5]]}}}))
        call = ("suggest", videos, "--checkpoint", checkpoint, "--annotations", labels, "--out", out)
        assert re2tal(*call) == 0
        printed = capsys.readouterr().out
        assert "2 of 6 videos stand in" in printed and "video1" in printed
        found = json.loads(out.read_text())["suggestions"]
        assert {item["video"] for item in found} == {f"video{number}" for number in range(1, 6)}
        assert [(item["start"], item["end"]) for item in found if item["video"] == "video1"] == [(3.5, 6.0)]
        assert all(set(item) == {"video", "start", "end", "score", "why"} for item in found)

        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "next.videos").glob("*.safetensors")}
        assert len(kept) == 6
        labels.write_text(json.dumps({"database": {f"video{number}": entry for number in range(6)}}))
        assert re2tal(*call) == 0
        assert "Nothing is left to suggest" in capsys.readouterr().out
        assert json.loads(out.read_text())["suggestions"] == []
        assert {path: path.stat().st_mtime_ns for path in kept} == kept

    def test_it_takes_detections_of_predict(
        self, re2tal: Any, checkpoint: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = {f"video{number}": [] for number in range(6)}
        rows["video4"] = [{"segment": [1.0, 3.0], "label": "flash", "score": 0.5}]
        detections = tmp_path / "detections.json"
        detections.write_text(json.dumps({"results": rows}))
        call = ("suggest", tiny.parent / "videos", "--checkpoint", checkpoint, "--out", tmp_path / "next.json")
        assert re2tal(*call, "--detections", detections, "--minutes", "0.1", "--json") == 0
        assert json.loads(capsys.readouterr().out)["num_suggestions"] == 1
        (found,) = json.loads((tmp_path / "next.json").read_text())["suggestions"]
        assert found["video"] == "video4" and "1 unsure detection, mostly flash" in found["why"]

        del rows["video2"]
        detections.write_text(json.dumps({"results": rows}))
        assert "no detections of 1 of 6 videos, such as 'video2'" in re2tal(*call, "--detections", detections)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (None, "no file of annotations"),
            ({"database": {"v": {"labelled": "all"}}}, "cannot tell what is labelled"),
            ({"database": {"v": 3}}, "cannot tell what is labelled"),
            ([], "must hold"),
        ],
    )
    def test_annotations_that_cannot_be_read_are_named(
        self, re2tal: Any, checkpoint: Path, tiny: Path, tmp_path: Path, labels: Any, message: str
    ) -> None:
        path = tmp_path / "labels.json"
        if labels is not None:
            path.write_text(json.dumps(labels))
        call = ("suggest", tiny.parent / "videos", "--checkpoint", checkpoint, "--out", tmp_path / "next.json")
        assert message in re2tal(*call, "--annotations", path)
        assert not (tmp_path / "next.json").exists()

    def test_a_broken_video_is_passed_over(
        self, re2tal: Any, checkpoint: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "videos"
        folder.mkdir()
        (folder / "good.mp4").write_bytes((tiny.parent / "videos" / "video0.mp4").read_bytes())
        (folder / "broken.mp4").write_bytes(b"nothing")
        assert re2tal("suggest", folder, "--checkpoint", checkpoint, "--out", tmp_path / "next.json") == 3
        assert "1 videos that cannot be used" in capsys.readouterr().out
        (found,) = json.loads((tmp_path / "next.json").read_text())["suggestions"]
        assert found["video"] == "good"
