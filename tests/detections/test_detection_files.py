"""The detections file: its layout, and that it is written whole or not at all."""

import json
from pathlib import Path

import pytest
import torch

from re2tal.common.types import Detections
from re2tal.detections import write_detections


def found(video_id: str = "v", *, score: float = 0.5, label: int = 1) -> Detections:
    return Detections(
        video_id=video_id,
        segments=torch.tensor([[1.0, 2.5]]),
        scores=torch.tensor([score]),
        labels=torch.tensor([label]),
    )


def test_the_file_has_the_layout_of_activitynet(tmp_path: Path) -> None:
    path = tmp_path / "new" / "detections.json"
    empty = Detections(
        video_id="empty", segments=torch.zeros(0, 2), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    write_detections(path, detections=[found(), empty], class_names=["jump", "dünk"])
    content = json.loads(path.read_text())
    assert set(content) == {"version", "results", "external_data"}
    assert content["results"] == {"v": [{"segment": [1.0, 2.5], "label": "dünk", "score": 0.5}], "empty": []}
    assert [item.name for item in path.parent.iterdir()] == ["detections.json"]


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ([found(), found()], "'v' twice; merge its windows first"),
        ([found(score=float("nan"))], "finite, got NaN or infinity in video 'v'"),
        ([found(label=2)], "got label 2 in video 'v' with 2 names"),
    ],
)
def test_wrong_detections_are_named_and_leave_the_old_file(
    tmp_path: Path, detections: list[Detections], message: str
) -> None:
    path = tmp_path / "detections.json"
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        write_detections(path, detections=detections, class_names=["jump", "dunk"])
    assert path.read_text() == "old"


def test_an_interrupted_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "detections.json"
    path.write_text("old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_detections(path, detections=[found()], class_names=["jump", "dunk"])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
