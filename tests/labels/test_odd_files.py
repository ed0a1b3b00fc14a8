"""Whatever stands in a file, reading it ends in records, told problems, or an error that names the file."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from re2tal.labels import SourceError
from tests.labels.frame_writers import BY_FRAME, timeline, via2_entries
from tests.labels.program_writers import EXACT, POINTS, label_studio_task
from tests.labels.support import bring_in, read_all
from tests.labels.writers import FORMATS, boris_observation, boris_project, via_project

SEGMENTS = {"a": [(0.5, 2.5, "Run"), (4.5, 5.5, "Jump")]}
ODD: tuple[Any, ...] = (None, True, 1, -1e300, "x", "", [], [None], {}, {"x": 1})


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def json_files() -> dict[str, Any]:
    events = [[1.0, "m", "run", "", ""], [2.0, "m", "run", "", ""]]
    return {
        "activitynet": {"database": {"a": {"subset": "x", "annotations": [{"segment": [1, 2], "label": "run"}]}}},
        "boris": json.loads(boris_project({"one": boris_observation(events, media={"a.mp4": 12.0})}, states=["run"])),
        "via": via_project(SEGMENTS),
        "label studio": [label_studio_task("a", timeline(SEGMENTS["a"]), kind="timelinelabels")],
        "soccernet": {"UrlLocal": "x/a/", "annotations": [{"gameTime": "1 - 00:01", "label": "y", "position": "1000"}]},
        "detections": {"results": {"a": [{"segment": [1, 2], "label": "run", "score": 0.5}]}},
        "via 2": {"_via_img_metadata": dict(list(via2_entries(SEGMENTS).items())[3:7])},
        "calms21": {"x": {"a": {"keypoints": [], "metadata": {"vocab": {"run": 0}}, "annotations": [0, 1, 0]}}},
        "labelled": {"database": {"a": {"labelled": [[1, 2]], "annotations": []}}},
        "ego4d": {
            "videos": [
                {
                    "split": "train",
                    "clips": [
                        {
                            "clip_uid": "a",
                            "video_start_sec": 1.0,
                            "video_end_sec": 13.0,
                            "video_start_frame": 30,
                            "video_end_frame": 390,
                            "annotations": [
                                {
                                    "annotator_uid": "x",
                                    "labels": [
                                        {"label": "run", "primary": 1, "video_start_time": 2, "video_end_time": 3}
                                    ],
                                }
                            ],
                        }
                    ],
                }
            ]
        },
        "charades": {"a": {"subset": "training", "duration": 12.0, "actions": [[1, 1.0, 2.0]]}},
    }


@pytest.mark.parametrize("name", json_files())
def test_odd_values_anywhere_in_json(name: str, clips: Path, tmp_path: Path) -> None:
    content = json_files()[name]
    path = tmp_path / "x.json"
    for number in range(len(list(places(content)))):
        for odd in ODD:
            changed = copy.deepcopy(content)
            container, key = list(places(changed))[number]
            container[key] = odd
            path.write_text(json.dumps(changed))
            try:
                if any(reading.records or reading.covered for reading in read_all(path)):
                    bring_in(path, videos=clips)
            except SourceError as error:
                assert str(path) in str(error) or "--" in str(error)


EVERY = {**FORMATS, **EXACT, **BY_FRAME, **POINTS}


@pytest.mark.parametrize("name", EVERY)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_cut_off_or_with_changed_bytes(name: str, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "f"
    if not folder.exists():
        folder.mkdir()
        EVERY[name][1](folder, SEGMENTS)
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "classes.txt")
    raw = file.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    changed = tmp_path / file.name
    changed.write_bytes(raw[:start] + data.draw(st.binary(max_size=6)) + raw[end:])
    try:
        read_all(changed)
    except SourceError as error:
        assert str(changed) in str(error)


@given(raw=st.binary(max_size=200), suffix=st.sampled_from((".csv", ".json", ".eaf", ".xlsx", ".srt", ".txt")))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(raw: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(raw)
    try:
        read_all(path)
    except SourceError as error:
        assert str(path) in str(error)
