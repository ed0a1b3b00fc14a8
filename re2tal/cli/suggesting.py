"""The command that says what to label next: suggest."""

import json as json_format
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Device, Json, Options, app, tell_results, to_paste
from re2tal.cli.predicting import SOME_SKIPPED, computing

if TYPE_CHECKING:
    from re2tal.inference.suggesting import Suggestion, VideoTrace

_MOST_PRINTED = 20


@app.command
def suggest(
    videos: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    checkpoint: Path,
    out: Path = Path("suggestions.json"),
    annotations: Path | None = None,
    detections: Path | None = None,
    minutes: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0,
    stretch: Annotated[float | None, Parameter(validator=Number(gte=1))] = None,
    config: Path | None = None,
    device: Device = None,
    json: Json = False,
    cfg_options: Options = None,
) -> None:
    """Say what to label next: stretches of video that a trained detector is unsure of and that are unlike each other.

    Stretches that are labelled are left out. Called again, it looks at new videos only. Ends with status 0 if every
    video was usable, 3 if some were not, 1 if nothing could be done.

    Parameters
    ----------
    videos
        Files, folders (with all below them) or patterns like 'day*/*.mp4'.
    checkpoint
        A best.pth or epoch_N.pth, or weights of a detector that were imported.
    out
        File to write; re2tal review --first takes it. What was computed of each video is kept beside it.
    annotations
        The labels so far. A video in it is labelled as a whole, or where its field "labelled" says.
    detections
        A detections.json of re2tal predict, to be used in the place of what the detector finds now.
    minutes
        How much to suggest.
    stretch
        Seconds of a suggestion; by default the detector's window, but at least 20 and at most 60.
    config
        The experiment's config, for weights that do not hold it.
    """
    from re2tal.config import load_config
    from re2tal.inference import find_videos, load_trained, suggesting

    labelled = {} if annotations is None else suggesting.read_labelled_stretches(annotations)
    found = find_videos(videos)
    kept = out.with_name(f"{out.stem}.videos")
    with computing(device, log=kept / "log.txt") as (processes, console):
        given = None if config is None else load_config(config)
        trained = load_trained(checkpoint, config=given, options=cfg_options or [])
        outcome, traces = suggesting.trace_videos(trained, found, folder=kept, processes=processes, console=console)
        if processes.is_main:
            outcome.write_skips(kept)
            names: Sequence[str] = trained.detected_names
            if detections is not None:
                traces, names = _with_detections(traces, detections)
            known = suggesting.by_video([trace.video_id for trace in traces], labelled)
            suggestions = suggesting.suggest(
                traces, class_names=names, labelled=known, budget_seconds=60 * minutes, seconds=stretch
            )
            suggesting.write_suggestions(out, suggestions)
            counts = {"num_videos": len(traces), "num_labelled": len(known), "num_suggestions": len(suggestions)}
            if json:
                print(json_format.dumps({**counts, "skipped": outcome.skipped, "out": str(out)}))
            else:
                about = "" if annotations is None else f"{len(known)} of {len(traces)} videos stand in {annotations}"
                _tell(suggestions, about=about, num_skipped=len(outcome.skipped), kept=kept, out=out)
    sys.exit(SOME_SKIPPED if outcome.skipped else 0)


def _with_detections(traces: "list[VideoTrace]", path: Path) -> "tuple[list[VideoTrace], Sequence[str]]":
    """The traces with the detections in a file, and the names of their classes."""
    import numpy as np

    from re2tal.common.untrusted import shown
    from re2tal.evaluation import read_predictions
    from re2tal.inference import InputError
    from re2tal.inference.suggesting import by_video, with_detections

    found = read_predictions(path)
    rows = np.column_stack([found.segments, found.scores, found.label_index])
    tables = {name: rows[found.video_index == index] for index, name in enumerate(found.video_ids)}
    known = by_video([trace.video_id for trace in traces], tables)
    if lacking := [trace.video_id for trace in traces if trace.video_id not in known]:
        raise InputError(
            f"{path} has no detections of {len(lacking)} of {len(traces)} videos, such as {shown(lacking[0])}; run "
            "re2tal predict on the same videos, or leave --detections out"
        )
    return [with_detections(trace, known[trace.video_id]) for trace in traces], found.class_names


def _tell(suggestions: "Sequence[Suggestion]", *, about: str, num_skipped: int, kept: Path, out: Path) -> None:
    from re2tal.common.terminal import print_table

    if about:
        print(about)
    if num_skipped:
        print(f"{kept / 'skipped.json'}: {num_skipped} videos that cannot be used, and why")
    if not suggestions:
        print("Nothing is left to suggest: all that could be used is labelled.")
        tell_results(out)
        return
    rows = [["", "video", "from", "to", "use", "why"]]
    for number, item in enumerate(suggestions[:_MOST_PRINTED], start=1):
        rows.append([str(number), item.video, _clock(item.start), _clock(item.end), f"{item.score:.2f}", item.why])
    more = len(suggestions) - _MOST_PRINTED
    caption = f"and {more} more" if more > 0 else ""
    print_table(rows, title="What to label next", caption=caption, numbers=False)
    minutes = sum(item.end - item.start for item in suggestions) / 60
    count = len({item.video for item in suggestions})
    print(f"\n{len(suggestions)} stretches of {count} videos, {minutes:.1f} minutes.")
    print(f"Next: re2tal review with --first {to_paste(out)} shows them first")
    tell_results(out)


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours)}:{int(minutes):02d}:{rest:04.1f}" if hours else f"{int(minutes)}:{rest:04.1f}"
