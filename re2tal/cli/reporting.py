"""The command that shows what was found: one page of a run or of a file of detections."""

import json as json_format
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Json, app, parse_tious, tell_results
from re2tal.common.atomic import require_writable
from re2tal.common.untrusted import readable, some

if TYPE_CHECKING:
    from re2tal.config.reported import ReportedConfig
    from re2tal.report import Sources, TruthSource, WrittenReport
    from re2tal.training import RunFolder

__all__ = ["report_of_run"]

DETECTIONS, PAGE = "detections.json", "report.html"


@app.command
def report(
    source: Path,
    /,
    *,
    ground_truth: Path | None = None,
    subset: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    subset_file: Path | None = None,
    blocked: Path | None = None,
    tious: str | None = None,
    videos: Path | None = None,
    embed: bool = False,
    max_detections: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Write a page that shows a run, or a file of detections: curves, mAP, errors, and every video's timeline.

    The page is one HTML file that needs no network. A run knows its ground truth and its videos; a file of detections
    is shown with those that are given.

    Parameters
    ----------
    source
        Folder of a run, or a file of detections (JSON of ActivityNet's submission layout, or NPZ).
    ground_truth
        Annotations to compare with; of a run, by default those of its config.
    subset
        Which videos of the ground truth count; by default those of the subsets that the detections are of.
    subset_file
        CSV of video and subset, for annotations that do not tell the subset.
    blocked
        JSON list of videos to leave out of the metric.
    tious
        Temporal IoU thresholds, separated by commas.
    videos
        Folder of the video files, <id>.mp4 or another suffix, at any depth.
    embed
        Put the video files into the page, so that it can be sent to somebody.
    max_detections
        Detections of one video that the page shows, the best ones; the metric counts all. By default 200, fewer where
        those of all videos would be more than a million.
    out
        The page; by default report.html in the run's folder, or beside the detections.
    """
    from re2tal.report import ReportVideos, Sources, TruthSource, write_report

    chosen = None if tious is None else parse_tious(tious)
    require_writable(out)
    if not source.exists():
        raise ValueError(f"there is no {source}; give the folder of a run or a file of detections")
    if source.is_dir():
        sources = sources_of_run(find_run_folder(source), ground_truth=ground_truth)
    else:
        title = source.stem if source.name != DETECTIONS else source.resolve().parent.name
        truth = None if ground_truth is None else TruthSource(path=ground_truth)
        sources = Sources(title=title, detections=source, truth=truth)
    if sources.truth is not None:
        given: dict[str, Any] = {"subset": subset and tuple(subset), "subset_file": subset_file, "blocked": blocked}
        changed = {name: value for name, value in given.items() if value is not None}
        sources = replace(sources, truth=replace(sources.truth, **changed))
    elif subset or subset_file or blocked or tious:
        raise ValueError(
            "--subset, --subset-file, --blocked and --tious choose from a ground truth, and there is none; give "
            "--ground-truth"
        )
    if chosen is not None:
        sources = replace(sources, tious=chosen)
    if videos is not None:
        sources = replace(sources, videos=ReportVideos(path=videos))
    written = write_report(sources, out=out or _default_page(source), embed=embed, max_detections=max_detections)
    if json:
        print(json_format.dumps(written.as_json()))
        return
    print(readable(_told(written)))
    tell_results(written.path)


def report_of_run(folder: Path) -> "WrittenReport":
    """Write the page of a run into its folder."""
    from re2tal.report import write_report

    return write_report(sources_of_run(folder), out=folder / PAGE)


def find_run_folder(folder: Path) -> Path:
    """`folder`, or the only run in it; an experiment's folder holds one folder for each run."""
    from re2tal.training import RunFolder

    def is_run(path: Path) -> bool:
        run = RunFolder(path)
        return run.metrics.is_file() or (path / DETECTIONS).is_file() or run.config.is_file()

    if is_run(folder):
        return folder
    runs = sorted(path for path in folder.glob("gpu*_id*") if is_run(path))
    if len(runs) == 1:
        return runs[0]
    if runs:
        raise ValueError(f"{folder} holds {len(runs)} runs; choose one: {some(map(str, runs), length=300)}")
    raise ValueError(
        f"{folder} is no folder of a run: it has no metrics.jsonl, {DETECTIONS} or config.json; give the folder that "
        "`re2tal train` wrote to, or a file of detections"
    )


def sources_of_run(folder: Path, *, ground_truth: Path | None = None) -> "Sources":
    """What a run's folder and its config tell of; `ground_truth` replaces the config's file."""
    from re2tal.data import DataConfig
    from re2tal.report import ReportVideos, Sources, TruthSource
    from re2tal.training import RunFolder

    run = RunFolder(folder)
    detections = folder / DETECTIONS
    found = Sources(
        title=folder.name,
        detections=detections if detections.is_file() else None,
        metrics=run.metrics if run.metrics.is_file() else None,
    )
    notes = [] if found.detections else [f"The run has no {DETECTIONS}: `re2tal test` writes it."]
    trained, tested = _settings_of(run)
    settings = tested or trained
    config = None if settings is None else _config_from(settings)
    if config is None:
        notes.append("The run's config is not known, and so neither its ground truth nor its videos.")
        truth = None if ground_truth is None else TruthSource(path=ground_truth)
        return replace(found, truth=truth, notes=tuple(notes))
    truth, videos = _truth_of(config, run=run), None
    if isinstance(config.data, DataConfig):
        videos = ReportVideos(path=config.data.videos, path_of=config.data.video_path)
    if ground_truth is not None:
        truth = replace(truth, path=ground_truth)
    elif not truth.path.exists():
        notes.append(f"There is no ground truth at {truth.path}, where the run's config has it; give --ground-truth.")
        truth = None
    return replace(
        found,
        title=config.name,
        truth=truth,
        tious=config.evaluation.tious,
        settings=trained or settings,
        videos=videos,
        notes=tuple(notes),
    )


def _settings_of(run: "RunFolder") -> tuple[Any, Any]:
    """The settings of the training and of the latest test, as JSON values; None if unknown.

    Runs of earlier versions have the first in their checkpoints only.
    """
    from re2tal.training import load_checkpoint

    written = [
        _settings_in(path.read_bytes(), source=path) if path.is_file() else None
        for path in (run.config, run.tested_config)
    ]
    if any(written):
        return written[0], written[1]
    saved = [run.best, *(run.epoch(number) for number in reversed(run.saved_epochs()))]
    path = next((path for path in saved if path.is_file()), None)
    return (None if path is None else _settings_in(str(load_checkpoint(path).get("config")), source=path)), None


def _settings_in(text: str | bytes, *, source: Path) -> Any:
    """None if it is no JSON."""
    from re2tal.common.untrusted import JsonError, parse_json
    from re2tal.config.former import without_removed

    try:
        return without_removed(parse_json(text), source=source)
    except JsonError:
        return None


def _config_from(settings: Any) -> "ReportedConfig | None":
    """What the settings of a run say; None if they are of a version that this one cannot read."""
    from pydantic import ValidationError

    from re2tal.config.reported import ReportedConfig

    try:
        return ReportedConfig.model_validate(settings)
    except ValidationError:
        return None


def _truth_of(config: "ReportedConfig", *, run: "RunFolder") -> "TruthSource":
    """What the run's own metric counts."""
    from re2tal.config.reported import ReportedData
    from re2tal.data import AGNOSTIC_CLASS
    from re2tal.report import TruthSource

    is_unlabelled = config.data.class_agnostic and config.postprocess.video_labels is None
    own = run.path / "ground_truth.json"
    path, subset_file = (
        (own, None) if isinstance(config.data, ReportedData) else (config.data.annotations, config.data.subset_file)
    )
    return TruthSource(
        path=path,
        subset=config.data.test_subset,
        subset_file=subset_file,
        blocked=config.evaluation.blocked,
        ignore_labels=config.data.ignore_labels,
        one_class=AGNOSTIC_CLASS if is_unlabelled else None,
    )


def _default_page(source: Path) -> Path:
    return find_run_folder(source) / PAGE if source.is_dir() else source.with_name(PAGE)


def _told(written: "WrittenReport") -> str:
    parts = [f"{written.num_videos} videos, {written.num_files} with their file, {written.num_bytes / 1e6:.1f} MB"]
    return "\n".join([f"open {written.path} ({', '.join(parts)})", *(f"note: {note}" for note in written.notes)])
