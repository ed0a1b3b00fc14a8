"""Settings of time, in seconds."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import ExperimentConfig, load_config, override
from re2tal.config.presets import demo_long
from re2tal.experiments.explain import gradient_share_of, times_of

ROOT = Path(__file__).parents[1]
THUMOS = ROOT / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py"
ANET = ROOT / "configs/re2tal/e2e_anet_re2tal_actionformer_swin_tiny.py"


def with_annotations(config: Path, folder: Path, lengths: list[float]) -> ExperimentConfig:
    """One video of 100 s and 2500 frames, with actions of `lengths` seconds one after the other."""
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    annotations = [
        {"segment": [start, start + length], "label": "jump"} for start, length in zip(starts, lengths, strict=True)
    ]
    entry = {"subset": "training", "duration": 100.0, "frame": 2500, "annotations": annotations}
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": {"video": entry}}))
    return override(load_config(config, []), [f"data.annotations={path}"])


def test_windows_last_as_long_as_their_frames() -> None:
    times = times_of(load_config(THUMOS, []), fps=25)
    assert times.step_seconds == pytest.approx(4 / 25)
    assert (times.frames_in_step, times.frames_per_second) == (4, 12.5)
    assert times.clip_seconds == pytest.approx(512 * 4 / 25)
    assert times.test_hop_seconds == times.test_whole_seconds == pytest.approx(256 * 4 / 25)


def test_a_whole_video_is_a_clip_of_any_length() -> None:
    times = times_of(load_config(ANET, []), fps=30, duration=96)
    assert times.step_seconds == pytest.approx(0.5) and times.clip_seconds == pytest.approx(96)
    assert (times.frames_in_step, times.frames_per_second) == (15, 8)
    assert times.test_hop_seconds is None


def test_levels_follow_each_other_without_gap() -> None:
    levels = times_of(load_config(THUMOS, []), fps=30).levels
    assert levels[0].shortest_seconds == 0 and levels[-1].longest_seconds is None
    for level, deeper in zip(levels, levels[1:], strict=False):
        assert deeper.shortest_seconds == level.longest_seconds
        assert deeper.stride_seconds == pytest.approx(2 * level.stride_seconds)


@pytest.mark.parametrize(("config", "seconds_per_step"), [(THUMOS, 4 / 25), (ANET, 100 / 192)])
def test_actions_are_counted_on_the_level_that_learns_them(
    config: Path, seconds_per_step: float, tmp_path: Path
) -> None:
    lengths = [3.0, 6.0, 12.0, 13.0]  # in steps: levels 0, 0, 1, 1
    times = times_of(with_annotations(config, tmp_path, [steps * seconds_per_step for steps in lengths]))
    assert times.fps == 25 and times.step_seconds == pytest.approx(seconds_per_step)
    assert [level.share for level in times.levels] == [0.5, 0.5, 0, 0, 0, 0]


def test_gradients_through_a_share_of_the_chunks_are_told(re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = demo_long(data=Path("nowhere"))
    gradients = times_of(config).gradients
    assert gradients is not None and times_of(config).test_whole_seconds is None
    assert (gradients.num_trained, gradients.num_chunks, gradients.chunk_frames) == (19, 75, 32)
    assert gradients.arithmetic == pytest.approx((1 + 2 * 19 / 75) / 3)
    rewired = gradient_share_of(override(config, ["backbone.reversible=True"]))
    assert rewired is not None and rewired.arithmetic == pytest.approx((1 + 3 * 19 / 75) / 4)
    assert gradient_share_of(override(config, ["backbone.sampled_gradients=1"])) is None
    assert re2tal("explain", ROOT / "configs/demo/long.py") == 0
    told = capsys.readouterr().out
    assert "19 of a clip's 75 chunks" in told and "features of windows make whole videos" in told


@pytest.mark.parametrize("option", [{"fps": 0.0}, {"fps": -3.0}, {"duration": float("inf")}, {"fps": float("nan")}])
def test_times_without_meaning_are_refused(option: dict[str, float]) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"--{name} must be a number above 0, such as 30, got"):
        times_of(load_config(THUMOS, []), **option)


def test_explain_prints_a_table_or_one_line(re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("explain", THUMOS, "--fps", 30) == 0
    assert "8.53-17.1 s" in capsys.readouterr().out
    assert re2tal("explain", ANET, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["levels"]) == 6
