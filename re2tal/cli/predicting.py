"""Commands that use a trained network on videos: predict, extract."""

import json as json_format
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Device, Json, Options, app, tell_results, to_paste
from re2tal.cli.exporting import export_as_json, export_beside, export_folder, told_of_export
from re2tal.cli.live import LiveCall, follow, log_of
from re2tal.common.untrusted import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console

    from re2tal.inference import Outcome, Predicted
    from re2tal.training import Processes

SOME_SKIPPED = 3
"""Exit status where some videos could not be used and the others are done."""


@app.command
def predict(
    videos: Annotated[list[Path] | None, Parameter(negative="")] = None,
    /,
    *,
    checkpoint: Path,
    out: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    stream: LiveCall = LiveCall(),  # noqa: B008  # it is frozen
    config: Path | None = None,
    min_score: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    classifier: Path | None = None,
    format: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    device: Device = None,
    json: Json = False,
    cfg_options: Options = None,
) -> None:
    """Find actions in videos with a trained detector; alone or under torchrun, which shares the videos out.

    Called again, it goes on with the videos that are not done. Ends with status 0 if every video was usable, 3 if some
    were not (they are listed in skipped.json), 1 if nothing could be done.

    With --live, follows a stream and writes what is found while it goes on (docs/live.md), until it ends or is
    interrupted; status 1 if it could not be read, or not any further.

    Parameters
    ----------
    videos
        Files, folders (with all below them) or patterns like 'day*/*.mp4'.
    checkpoint
        A best.pth or epoch_N.pth, or weights of a detector that were imported.
    out
        Folder for report.html, detections.json, detections.csv, and a .json, .csv and .vtt for each video. With --live,
        a new file.
    config
        The experiment's config, for weights that do not hold it.
    min_score
        Leave out detections below it. By default detections.json has all, CSV and WebVTT those from 0.3 on.
    classifier
        Class scores of whole videos, which name what a class-agnostic detector finds.
    format
        Formats of other programs to write as well, each into a folder of its name in out; see re2tal export.
    """
    from re2tal import inference as predicting
    from re2tal.config import load_config

    stream.require_consistent(videos, formats=format)
    _require_known(format or [])
    found = predicting.find_videos(videos or [])
    with computing(device, log=log_of(out, stream)) as (processes, console):
        if processes.is_main:
            _tell_passed_over(videos or [])
        trained = predicting.load_trained(
            checkpoint,
            config=None if config is None else load_config(config),
            classifier=classifier,
            options=cfg_options or [],
        )
        if stream.live is not None:
            follow(trained, stream, out=out, min_score=min_score, processes=processes, console=console, json=json)
            return
        done = predicting.predict(
            trained,
            found,
            out=out,
            min_score=min_score,
            processes=processes,
            console=console,
        )
        if processes.is_main:
            _finish(done, formats=format or [], checkpoint=checkpoint, out=out, as_json=json)
    sys.exit(SOME_SKIPPED if done.outcome.skipped else 0)


def _require_known(formats: Sequence[str]) -> None:
    """Unknown ones are told now and not when all is computed."""
    from re2tal.labels.exporting import find_writer

    for name in formats:
        find_writer(name)


def _finish(done: "Predicted", *, formats: Sequence[str], checkpoint: Path, out: Path, as_json: bool) -> None:
    """Write what is made of all videos together, and say what has been done."""
    folder, written = done.folder, done.written
    page = _write_page(done, checkpoint=checkpoint, out=out)
    exported = export_beside(folder.submission, formats=formats, known=_paths(done), min_score=folder.shown_from)
    about: dict[str, object] = {"num_detections": written.num_shown, "shown_from": folder.shown_from}
    if exported:
        about["exported"] = {name: export_as_json(result) for name, result in exported.items()}
    text = f"{written.num_shown} detections with a score of {folder.shown_from:g} or more"
    if not written.num_shown and written.best_score:
        text += f"; the best has {written.best_score:.3f}, --min-score sets what is shown"
    files = [page, folder.submission, folder.table, folder.path / "videos"]
    for name, result in exported.items():
        if not as_json:
            print(visible_lines(f"{name}: {told_of_export(result)}"))
        files += [] if isinstance(result, ValueError) else [export_folder(folder.submission, name)]
    _tell(done.outcome, text=text, about=about, files=files, as_json=as_json, out=out)


def _paths(done: "Predicted") -> dict[str, Path]:
    return {video.video_id: video.path for video in done.outcome.usable}


def _write_page(done: "Predicted", *, checkpoint: Path, out: Path) -> Path:
    """A page on which a click on a detection plays it; one of the same detections is left as it is."""
    from re2tal.report import Excerpt, ReportVideos, Sources, write_report

    page = out / "report.html"
    if page.is_file() and not done.written.is_new:
        return page
    sources = Sources(
        title=f"Predictions of {checkpoint}",
        detections=done.folder.submission,
        excerpt=Excerpt(path=done.folder.excerpt, num_detections=done.written.num_kept),
        videos=ReportVideos(path=out, known=_paths(done)),
    )
    write_report(sources, out=page)
    return page


@app.command
def extract(
    sources: Annotated[list[Path] | None, Parameter(negative="")] = None,
    /,
    *,
    out: Path,
    checkpoint: Path | None = None,
    config: Path | None = None,
    device: Device = None,
    json: Json = False,
    cfg_options: Options = None,
) -> None:
    """Store a backbone's features of videos, one .safetensors file each, for training and testing without pixels.

    The backbone is that of a checkpoint, or of a config with backbone.pretrained. Without videos, those of the config's
    data set are taken. Called again, it goes on with the videos that are not done. Ends with status 0 if every video
    was usable, 3 if some were not (they are listed in skipped.json), 1 if nothing could be done.

    Parameters
    ----------
    sources
        A config (.py), then files, folders or patterns of videos, each if needed.
    out
        Folder for the features; data.features in a config then names it.
    checkpoint
        A detector whose backbone to take; it holds its config, if --config gives none.
    config
        The experiment's config, the same as a first source that ends with .py.
    """
    from re2tal import inference as predicting
    from re2tal.config import load_config

    config, videos = _config_and_videos(sources or [], config=config)
    if config is None and checkpoint is None:
        raise ValueError("whose features? Give a config that has backbone.pretrained, or a --checkpoint")
    given = None if config is None else load_config(config)
    options = cfg_options or []
    with computing(device, log=out / "log.txt") as (processes, console):
        settings = predicting.settings_of(checkpoint, config=given, options=options)
        weights = checkpoint or settings.backbone.pretrained
        data_set = None if videos else predicting.videos_of_data(settings.data)
        outcome = predicting.extract(
            predicting.load_backbone(settings, weights=weights),
            predicting.find_videos(videos) if data_set is None else data_set.files,
            config=settings,
            weights=weights,
            out=out,
            annotated=None if data_set is None else data_set.annotated,
            processes=processes,
            console=console,
        )
        if processes.is_main:
            _tell_passed_over(videos)
            _tell(outcome, text="features", about={}, files=[out], as_json=json, out=out)
    sys.exit(SOME_SKIPPED if outcome.skipped else 0)


def _config_and_videos(sources: Sequence[Path], *, config: Path | None) -> tuple[Path | None, list[Path]]:
    """A first source that is a Python file is the config."""
    if sources and sources[0].suffix == ".py":
        if config is not None:
            raise ValueError(f"two configs are named, {sources[0]} and --config {config}; name one")
        return sources[0], list(sources[1:])
    return config, list(sources)


def _tell_passed_over(named: Sequence[Path]) -> None:
    """What lies in the folders that were named and is not taken for a video."""
    from re2tal.common.video_files import videos_passed_over

    for folder in named:
        if folder.is_dir() and (told := videos_passed_over(folder)):
            print(f"note: {visible(told)}; a file of another ending is tried if it is named itself", file=sys.stderr)


@contextmanager
def computing(device: Device, *, log: Path) -> "Iterator[tuple[Processes, Console | None]]":
    """The processes of a call, and a terminal's console for the first; if it is interrupted, it says how to go on."""
    from re2tal.training import distributed_processes, logging_to

    with distributed_processes(device) as processes, logging_to(log, is_main=processes.is_main) as console:
        try:
            yield processes, console if processes.is_main else None
        except KeyboardInterrupt:
            sys.exit("interrupted; nothing that was finished is lost, and the same command goes on with the next video")


def _tell(
    outcome: "Outcome", *, text: str, about: Mapping[str, object], files: Sequence[Path], as_json: bool, out: Path
) -> None:
    """Say what has been done and where it is."""
    num_videos, skipped = len(outcome.videos), outcome.skipped
    if as_json:
        counts = {"num_videos": num_videos, "num_done_before": outcome.num_done_before, "skipped": skipped}
        print(json_format.dumps({**counts, **about, "out": str(out)}))
        return
    print(f"{len(outcome.usable)} of {num_videos} videos ({outcome.num_done_before} done before): {text}")
    if skipped:
        print(f"{len(skipped)} videos that cannot be used, and why: {to_paste(out / 'skipped.json')}")
    tell_results(*files)
