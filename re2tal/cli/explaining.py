"""The command `re2tal explain`."""

import json as json_format
from typing import TYPE_CHECKING

from re2tal.cli.app import ConfigPath, Json, Options, app
from re2tal.common.terminal import print_table

if TYPE_CHECKING:
    from re2tal.experiments.explain import Times


@app.command
def explain(
    config: ConfigPath,
    *,
    fps: float | None = None,
    duration: float | None = None,
    json: Json = False,
    cfg_options: Options = None,
) -> None:
    """Tell what steps, windows, strides and regression ranges are in seconds, and which actions suit them.

    Parameters
    ----------
    fps
        Frames per second of the videos; by default the median that the annotations tell, else 30.
    duration
        Of a video in seconds, where a clip is a whole video; by default the median of the annotations, else 120.
    """
    from re2tal.config import load_config
    from re2tal.experiments.explain import times_of

    times = times_of(load_config(config, cfg_options or []), fps=fps, duration=duration)
    if json:
        print(json_format.dumps(times.as_json()))
    else:
        _print_times(times)


def _print_times(times: "Times") -> None:
    video = f"{times.fps:.4g} frames per second"
    if times.duration_seconds is not None:
        video += f", {times.duration_seconds:.4g} s long"
    rows = [
        ["", "", "seconds"],
        ["a step of the detector", f"{times.frames_in_step:.4g} frames of the file", _seconds(times.step_seconds)],
        ["frames that the backbone sees", f"{times.frames_per_second:.4g} per second", ""],
        ["a clip", f"{times.num_steps} steps, {times.num_frames} frames seen", _seconds(times.clip_seconds)],
    ]
    if times.test_hop_seconds is not None:
        rows.append(["windows of testing begin every", "", _seconds(times.test_hop_seconds)])
        whole = times.test_whole_seconds
        rows.append(
            ["features of windows make whole videos", "", ""]
            if whole is None
            else ["actions lie whole in a window up to", "", _seconds(whole)]
        )
    caption = times.source if times.gradients is None else f"{times.source}\n{times.gradients}"
    print_table(rows, title=f"{times.name}: videos of {video}", caption=caption)
    has_ranges, has_shares = times.levels[0].reach_steps is not None, times.levels[0].share is not None
    heading = ["level", "stride in steps", "in seconds"]
    heading += ["regression range in steps", "learns actions of"] if has_ranges else []
    rows = [[*heading, *(["share of actions"] if has_shares else [])]]
    for number, level in enumerate(times.levels):
        row = [str(number), str(level.stride_steps), _seconds(level.stride_seconds)]
        if level.reach_steps is not None:
            low, high = level.reach_steps
            shortest, longest = _seconds(level.shortest_seconds), _seconds(level.longest_seconds)
            row += (
                [f"from {low:g}", f"from {shortest} s"]
                if high is None
                else [f"{low:g}-{high:g}", f"{shortest}-{longest} s"]
            )
        rows.append([*row, *([] if level.share is None else [f"{100 * level.share:.1f} %"])])
    print_table(rows, title="The pyramid")
    if times.labelled is not None:
        print(f"To train on: {times.labelled.in_words()}; {times.negative_share:.0%} of the training clips show none")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
