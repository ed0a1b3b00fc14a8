"""The arithmetic of the programs that simulate labelling; what they train is not repeated here."""

from pathlib import Path
from typing import Any

import label_next
import numpy as np
import pytest
import warm_start
from labelling.edits import Edits, count_edits
from result_lines import add_line, read_lines

from re2tal.common.types import Action, AnnotatedVideo
from re2tal.config.presets import demo
from re2tal.data import Annotations
from re2tal.inference.suggesting import VideoTrace


def video(video_id: str, subset: str, *actions: tuple[float, float, str]) -> AnnotatedVideo:
    return AnnotatedVideo(
        video_id=video_id,
        subset=subset,
        duration_seconds=60.0,
        num_frames=600,
        actions=tuple(Action(start_seconds=start, end_seconds=end, label=label) for start, end, label in actions),
    )


ANNOTATIONS = Annotations(
    path=Path("annotations.json"),
    videos=(
        video("a", "training", (2, 6, "run"), (18, 24, "walk"), (50, 55, "run")),
        video("b", "training", (1, 2, "run")),
        video("t", "validation", (5, 9, "walk")),
    ),
    problems=(),
)


def test_lines_survive_one_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    assert read_lines(path) == []
    add_line(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"b": ')
    assert read_lines(path) == [{"a": 1}]


def test_labels_are_revealed_in_stretches() -> None:
    config = demo(data=Path("x"))
    found = label_next.reveal(ANNOTATIONS, [("a", 0.0, 20.0), ("a", 40.0, 60.0)], config)["database"]
    assert set(found) == {"a", "t"}  # nobody has looked at b
    assert found["a"]["labelled"] == [[0.0, 20.0], [40.0, 60.0]]
    assert [row["segment"] for row in found["a"]["annotations"]] == [[2, 6], [50, 55]]  # 18 to 24 s: middle outside
    assert "labelled" not in found["t"] and len(found["t"]["annotations"]) == 1


@pytest.mark.parametrize("order", label_next.ORDERS)
def test_no_order_chooses_what_is_labelled(order: str) -> None:
    rng = np.random.default_rng(0)
    traces = [
        VideoTrace(
            video_id=name,
            duration_seconds=60.0,
            segments=np.array([[5.0, 9.0], [30.0, 40.0]]),
            scores=np.array([0.5, 0.2], np.float32),
            labels=np.array([0, 1]),
            features=rng.normal(size=(60, 3)).astype(np.float32),
            cell_seconds=1.0,
            window_seconds=10.0,
        )
        for name in ("a", "b")
    ]
    numbers: dict[str, Any] = {"first_minutes": 1, "minutes": 0.7, "rounds": 2, "steps": 1}
    plan = label_next.Plan(config=demo(data=Path("x")), stretch_seconds=20.0, tolerance_seconds=0.5, **numbers)
    labelled = [("a", 0.0, 60.0), ("b", 20.0, 40.0)]
    known = {"class_names": ("run", "walk"), "labelled": labelled, "plan": plan, "seed": (1, 2)}
    chosen = label_next.choose(order, traces, **known)
    assert {span[0] for span in chosen} == {"b"}
    assert all(end <= 20 or start >= 40 for _, start, end in chosen)
    assert label_next.minutes_of(chosen) <= 0.7

    tables = label_next._tables([("a", 0.0, 20.0)], traces, class_names=("run", "walk"), annotations=ANNOTATIONS)
    # In 0 to 20 s: one labelled action, 2 to 6 s, and one detection, 5 to 9 s, both of whose edges are off.
    assert count_edits(*tables, min_score=0.3) == Edits(moved=2, labels=1)


def test_steps_are_counted_from_the_start() -> None:
    row = {"mAP": [0.1, 0.4, 0.8, 0.7], "steps_per_epoch": 12}
    assert [warm_start.steps_to(row, target) for target in (0.1, 0.4, 0.5, 0.9)] == [0, 12, 24, None]
