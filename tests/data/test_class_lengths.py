"""A class that no clip suits is told by import, init and check-data, with a setting that helps."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.common.types import Action, AnnotatedVideo
from re2tal.config import load_config
from re2tal.data import ResizeSampling, WindowSampling
from re2tal.data.class_lengths import misfits
from re2tal.experiments.checking import check_data
from re2tal.video import write_video
from tests.tiny_experiment import make_tiny_experiment

FPS = 10.0
SAMPLINGS = (
    WindowSampling(num_steps=8, frames_per_step=2, frame_stride=3),  # a window of 4.8 s in steps of 0.6 s
    ResizeSampling(num_steps=16, frames_per_step=1),  # steps of 6.25 s, of which 1 s is left out
)


def video(*lengths: tuple[str, float]) -> AnnotatedVideo:
    actions = tuple(Action(label=label, start_seconds=1.0, end_seconds=1.0 + seconds) for label, seconds in lengths)
    return AnnotatedVideo(video_id="a", subset="training", duration_seconds=100.0, num_frames=1000, actions=actions)


def settings_in(told: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"data\.sampling\.(\w+)=([\d.]+\d|\d)", told)}


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.kind)
def test_the_setting_that_is_named_helps(sampling: Any) -> None:
    """With it, at least one action of the class fits, and nothing is said any more."""
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(300):
        videos = [video(*(("a", float(10 ** rng.uniform(-0.9, 1.9))) for _ in range(rng.integers(1, 4))))]
        lengths = [action.end_seconds - action.start_seconds for action in videos[0].actions]
        said = list(misfits(videos, sampling, fps=FPS))
        if sampling.kind == "window":
            assert bool(said) == (min(lengths) > 4.8 + 1e-9 or max(lengths) < 0.6 - 1e-9), lengths
        else:
            assert bool(said) == (max(lengths) < 6.25), lengths
        for sentence in said:
            changed = sampling.model_copy(update={name: int(value) for name, value in settings_in(sentence).items()})
            assert changed != sampling and list(misfits(videos, changed, fps=FPS)) == []
            told += 1
    assert told > 50


def test_what_suits_some_actions_of_a_class_is_not_told() -> None:
    mixed = [video(("a", 0.2), ("a", 2.0), ("a", 50.0), ("b", 3.0))]
    assert list(misfits(mixed, SAMPLINGS[0], fps=FPS)) == []


def test_actions_shorter_than_a_frame_have_no_setting_that_helps() -> None:
    (told,) = misfits([video(("a", 0.05))], SAMPLINGS[0], fps=FPS)
    assert "shorter than a frame" in told and "correct their times" in told


def test_a_class_that_outlasts_the_window_is_told_by_check_data(tmp_path: Path) -> None:
    tiny = make_tiny_experiment(tmp_path)
    options = ["data.sampling.num_steps=8", "data.sampling.frames_per_step=1", "pyramid.max_steps=8"]
    report = check_data(load_config(tiny, options), jobs=1)  # a window of 1 s
    told = [(finding.severity, finding.what, finding.detail) for finding in report.findings]
    assert [(severity, what) for severity, what, _ in told] == [("warning", "class of another scale")] * 2
    assert "all 4 training actions of 'flash' outlast the window (1.5 times)" in told[0][2]
    helped = [*options, f"data.sampling.frame_stride={settings_in(told[1][2])['frame_stride']:g}"]
    assert check_data(load_config(tiny, helped), jobs=1).findings == ()


def test_import_and_init_tell_of_a_class_that_their_window_does_not_suit(
    tmp_path: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two long naps among many short steps, by which the window is chosen."""
    rows = []
    for name in ("a", "b"):
        write_video(tmp_path / f"videos/{name}.mp4", np.zeros((1500, 16, 16, 3), np.uint8), fps=5)
        rows += [f"{name},{start},{start + 0.8},step" for start in range(150)]
        rows.append(f"{name},160,290,nap")
    (tmp_path / "labels.csv").write_text("\n".join(["video,start,end,label", *rows]))
    out = tmp_path / "a.json"
    assert re2tal("import", tmp_path / "labels.csv", "--videos", tmp_path / "videos", "--out", out) == 0
    shown = capsys.readouterr().out
    assert "look at this: with the config of re2tal init (--size " in shown
    assert "all 1 training actions of 'nap' outlast the window" in shown
    assert re2tal("init", tmp_path / "own", "--annotations", out, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["hints"]
    assert told in shown
    assert re2tal("init", tmp_path / "own", "--annotations", out, "--overwrite") == 0
    assert f"look at this: {told}" in capsys.readouterr().out
    report = check_data(load_config(tmp_path / "own/config.py"), jobs=1, decode="none")
    assert told in [finding.detail for finding in report.findings]
