"""Commands that begin with people's own videos and annotations: import, init."""

import json as json_format
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Json, app, tell_results, to_paste, told_of_file
from re2tal.cli.starting import StartCall, write_started_config
from re2tal.common.atomic import NotWritableError, require_writable
from re2tal.common.untrusted import readable

if TYPE_CHECKING:
    from re2tal.labels import Choices, ImportedLabels, ImportReport, Measures, Size

Many = Parameter(consume_multiple=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ImportCall:
    """What is asked of `re2tal import`."""

    videos: Path | None = None
    """Folder of the videos, at any depth. Without, for detectors on features that others have extracted, the files
    themselves or lengths tell how long the videos are."""
    lengths: Path | None = None
    """Without videos: table of their lengths, a CSV with columns video_id, duration in seconds and fps if known, such
    as EPIC_100_video_info.csv; or annotations that tell them."""
    out: Path = Path("annotations.json")
    """The file to write."""
    format: str | None = None
    """What the files are, where the content is not recognised: csv, per-frame, activitynet, detections, thumos,
    multithumos, charades, epic-kitchens, ava, ego4d, soccernet, calms21, elan, anvil, boris, observer, ethovision,
    bento, via, via2, label-studio, cvat, srt, vtt, textgrid or audacity; or a format of your own, path/to/file.py:Name
    (docs/extending.md)."""
    columns: Annotated[list[str] | None, Many] = None
    """Columns of a table by their role, as video=clip start=t_on end=t_off; roles are video, start, end, duration,
    subset."""
    unit: Literal["seconds", "frames", "milliseconds"] | None = None
    """Of times in a table whose columns do not tell."""
    fps: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Rate that frame numbers count at; by default that of each video."""
    label: Annotated[list[str] | None, Many] = None
    """Column or field that is the label, or several to be joined, such as verb noun; of ELAN value, tier; of BORIS
    behavior, subject, modifiers."""
    only: Annotated[list[str] | None, Many] = None
    """Take annotations with these values alone, such as tier=behaviour."""
    classes: Path | None = None
    """Text file of numbers and names, for formats that number their classes."""
    point_length: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Seconds that events without length are given, around their time; without, they are left out."""
    points: bool = False
    """Keep events without length as point events, [t, t] (docs/figures.md)."""
    min_score: float | None = None
    """Lowest score of annotations that have one, such as detections (of which 0.3 is the lowest by default)."""
    split: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.2
    """Share of the annotations to validate on, where the files do not tell subsets."""
    resplit: bool = False
    """Split even if the files tell subsets."""
    empty: Annotated[list[str] | None, Many] = None
    """Videos that are known to show no action, though no file of annotations names them: patterns of paths below
    videos, such as 'nothing/*'; '*' takes all that have no annotations."""
    group: str | None = None
    """What may not be on both sides of the split: a field of the annotations, or a regular expression on the paths of
    the videos, of which the part in brackets counts if it has one."""
    seed: int = 42
    """Of the split."""
    allow_links: bool = False
    """Take videos that lie in their folder only by links that lead out of it."""
    problems: Annotated[Path | None, Parameter(name=["--list"])] = None
    """File to write, with one line of JSON for each annotation that was left out or changed."""
    overwrite: bool = False
    """Replace out if it is there."""
    json: Json = False


@app.command(name="import")
def import_(sources: list[Path], /, *, call: ImportCall | None = None) -> None:
    """Bring annotations of other programs and data sets, and the lengths of their videos, into one file to train on.

    Ends with status 0 if annotations were written, 1 if nothing in them could be used, 2 if the command is wrong.

    Parameters
    ----------
    sources
        Files, or folders of files: tables with a row for each action or for each frame (CSV, TSV, .xlsx, .xls, .ods),
        projects and exports of ELAN, Anvil, BORIS, The Observer, EthoVision, BENTO, VIA, Label Studio, CVAT, Praat and
        Audacity, subtitles (.srt, .vtt), data sets (ActivityNet, THUMOS-14, MultiTHUMOS, Charades, EPIC-KITCHENS,
        Ego4D, AVA, SoccerNet, CalMS21) and detections of re2tal predict. The format is recognised by the content.
    """
    from re2tal import labels as own_data
    from re2tal.training import counting

    call = call or ImportCall()
    with _wrong_calls_end_with_2():
        if call.out.exists() and not call.overwrite:
            raise own_data.SourceError(f"{call.out} is there already; give another --out, or --overwrite")
        require_writable(call.out, call.problems)
        if call.points and call.point_length is not None:
            raise own_data.SourceError(
                "--points keeps events without length and --point-length widens them; leave one out"
            )
        if call.videos is not None and call.lengths is not None:
            raise own_data.SourceError("--lengths is for videos that are not at hand; leave it or --videos out")
        lengths = {} if call.lengths is None else own_data.read_lengths(call.lengths)
        names = {} if call.classes is None else own_data.read_class_names(call.classes)
        reading = own_data.ReadOptions(
            length_of=own_data.lengths_in(call.videos, allow_links=call.allow_links),
            unit=call.unit,
            columns=_columns(call.columns),
            label=tuple(call.label or ()),
            class_names=names,
        )
        options = own_data.ImportOptions(
            label=tuple(call.label or ()),
            only=_only(call.only),
            min_score=call.min_score,
            fps=call.fps,
            point_seconds=0.0 if call.points else call.point_length,
            split=call.split,
            resplit=call.resplit,
            empty=tuple(call.empty or ()),
            group=call.group,
            seed=call.seed,
            allow_links=call.allow_links,
        )
        readings = own_data.read_sources(sources, format_=call.format, options=reading)
        with counting("videos") as tell:
            imported = own_data.import_annotations(
                readings, videos=call.videos, lengths=lengths, options=options, tell=tell
            )
        _write(imported, out=call.out, problems=call.problems)
    more = _hints_of_init(call) if imported.report.num_segments else []
    report = replace(imported.report, hints=(*imported.report.hints, *more))
    _tell(report, out=call.out, problems=call.problems, json=call.json)
    sys.exit(0 if imported.report.num_segments else 1)


def _write(imported: "ImportedLabels", *, out: Path, problems: Path | None) -> None:
    from re2tal.labels import write_annotations

    if problems is not None:
        imported.report.write_problems(problems)
    if imported.report.num_segments:
        write_annotations(imported, out)


def _hints_of_init(call: ImportCall) -> list[str]:
    """Of classes that do not suit the clips which `re2tal init` would choose."""
    from re2tal import labels as own_data
    from re2tal.data.annotations import AnnotationError

    if call.videos is None:  # there is nothing that init could measure
        return []
    try:
        data = own_data.load_data_set(call.out, videos=call.videos, allow_links=call.allow_links)
        measures = own_data.measure(data)
    except (own_data.SourceError, AnnotationError):  # nothing was written, or nothing to train or test on
        return []
    machine = _machine()
    choices = own_data.choose(measures, size=machine.usual_size, memory_mib=machine.memory_mib)
    hints = own_data.class_hints(data, measures, choices)
    return [f"with the config of re2tal init (--size {machine.usual_size}), {hint}" for hint in hints]


def _tell(report: "ImportReport", *, out: Path, problems: Path | None, json: bool) -> None:
    from re2tal.labels import print_report

    written = str(out) if report.num_segments else None
    if json:
        print(json_format.dumps({"out": written, **report.as_json()}, ensure_ascii=False))
        return
    print_report(report)
    if written is None:
        print("Nothing can be used; nothing was written", file=sys.stderr)
    else:
        print(f"\nNext: re2tal init my_experiment --annotations {to_paste(out)}")
    tell_results(out if written else None, problems)


@app.command
def init(
    folder: Path,
    /,
    *,
    annotations: Path | None = None,
    videos: Path | None = None,
    size: Literal["small", "medium", "large"] | None = None,
    pretrained: Path | None = None,
    point_length: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    start_from: Path | None = None,
    rename: Annotated[list[str] | None, Many] = None,
    allow_links: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write a config for annotations and their videos, with the reason for every choice beside it.

    Ends with status 0 if it was written, 2 if the command is wrong.

    Parameters
    ----------
    folder
        Where to write config.py; results of its runs go there too.
    annotations
        A file of re2tal import, or of ActivityNet's layout; by default annotations.json in the folder, or here.
    videos
        Folder of the videos, if the annotations do not tell it, or they were moved.
    size
        Of the network and its clips; by default large with --pretrained, else medium with a GPU and small without.
    pretrained
        Weights for the large network (Video Swin-T), as re2tal import-weights takes them.
    point_length
        Seconds around point events that are trained on. By default 1 if all annotations are point events, which are
        then found as points; beside others, point events are left out.
    start_from
        A trained detector (best.pth) to go on from: the config takes its settings where the data allow, and trains for
        fewer epochs. Classes may have been added, left out or renamed.
    rename
        Classes whose names changed since that training, as walk=walking.
    allow_links
        Take videos that lie in their folder only by links that lead out of it.
    overwrite
        Replace the config if it is there.
    json
        Print one line of JSON and nothing else.
    """
    from re2tal import labels as own_data

    with _wrong_calls_end_with_2():
        path = folder / "config.py"
        require_writable(path)
        if path.exists() and not overwrite:
            raise own_data.SourceError(f"{path} is there already; give another folder, or --overwrite")
        _require_one_beginning(size, pretrained=pretrained, start_from=start_from, rename=rename)
        data = own_data.load_data_set(
            _find_annotations(folder, annotations), videos=videos, allow_links=allow_links, point_seconds=point_length
        )
        machine = _machine()
        chosen = size or ("large" if pretrained else machine.usual_size)
        measures = own_data.measure(data)
        choices = own_data.choose(measures, size=chosen, memory_mib=machine.memory_mib)
        if start_from is not None:
            given = StartCall(start_from, rename=rename or [], folder=folder, memory_mib=machine.memory_mib, json=json)
            write_started_config(given, data=data, measures=measures, fresh=choices)
            return
        text = own_data.config_text(
            data,
            measures,
            choices,
            name=folder.resolve().name or "own_data",
            folder=folder,
            pretrained=None if pretrained is None else pretrained.resolve(),
        )
        own_data.write_config(text, path)
    if data.num_left_out_points and not json:
        count = data.num_left_out_points
        print(f"{count} point events are left out; --point-length SECONDS trains on segments around them.")
    _tell_config(path, choices, measures, hints=own_data.class_hints(data, measures, choices), json=json)


def _tell_config(path: Path, choices: "Choices", measures: "Measures", *, hints: list[str], json: bool) -> None:
    if json:
        line = {"config": str(path), "size": choices.size, "window_seconds": choices.window_seconds}
        names = ("num_steps", "seconds_per_step", "levels", "epochs", "negative_share")
        line |= {name: getattr(choices, name) for name in names}
        print(json_format.dumps({**line, "minutes": measures.time.as_json(), "hints": hints}))
        return
    for hint in hints:
        print(readable(f"look at this: {hint}"))
    seen = "whole videos" if choices.whole_video else f"windows of {choices.window_seconds:.2f} s"
    print(f"{path} ({choices.size}): {seen} in {choices.num_steps} steps of {choices.seconds_per_step:.3g} s,")
    print(f"{choices.levels} levels, {choices.epochs} epochs. The file says why.")
    negatives = f"; {choices.negative_share:.0%} of the training clips show none" if choices.negative_share else ""
    print(f"To train on: {measures.time.in_words()}{negatives}. Next:")
    print(*(f"  re2tal {command} {to_paste(path)}" for command in ("check-data", "train", "test")), sep="\n")
    tell_results(path)


def _require_one_beginning(
    size: str | None, *, pretrained: Path | None, start_from: Path | None, rename: list[str] | None
) -> None:
    from re2tal.labels import SourceError

    if pretrained is not None and not pretrained.is_file():
        raise SourceError(f"there is no file of weights {pretrained}")
    if pretrained is not None and size not in (None, "large"):
        raise SourceError(f"--pretrained is for --size large, got {size}; leave one of them out")
    if start_from is not None and (pretrained is not None or size is not None):
        raise SourceError("with --start-from, network and size are the checkpoint's; give it alone")
    if rename and start_from is None:
        raise SourceError("--rename names classes of a checkpoint; give it with --start-from")


def _find_annotations(folder: Path, given: Path | None) -> Path:
    from re2tal.labels import SourceError

    if given is not None:
        if not given.is_file():
            raise SourceError(f"there is no file of annotations {given}; write one with re2tal import")
        return given
    places = (folder / "annotations.json", Path("annotations.json"))
    for place in places:
        if place.is_file():
            return place
    raise SourceError(
        f"there is no {' nor '.join(map(str, places))}; write one with re2tal import, or give --annotations"
    )


@dataclass(frozen=True, kw_only=True)
class _Machine:
    gpu: bool
    memory_mib: int
    """0 if it does not tell."""

    @property
    def usual_size(self) -> "Size":
        """Of a network without pretrained weights."""
        return "medium" if self.gpu else "small"


def _machine() -> _Machine:
    import torch

    gpu = torch.cuda.is_available()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        memory = 0
    return _Machine(gpu=gpu, memory_mib=memory)


def _columns(pairs: list[str] | None) -> dict[str, str]:
    from re2tal.labels import SourceError

    roles = ("video", "start", "end", "duration", "subset")
    named = [pair.partition("=")[::2] for pair in pairs or []]
    for (role, column), pair in zip(named, pairs or [], strict=True):
        if role not in roles or not column:
            raise SourceError(f"--columns takes ROLE=COLUMN with one of the roles {', '.join(roles)}, got {pair!r}")
    return dict(named)


def _only(pairs: list[str] | None) -> dict[str, frozenset[str]]:
    from re2tal.labels import SourceError

    values: dict[str, set[str]] = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise SourceError(f"--only takes FIELD=VALUE, such as tier=behaviour, got {pair!r}")
        values.setdefault(name, set()).add(value)
    return {name: frozenset(listed) for name, listed in values.items()}


@contextmanager
def _wrong_calls_end_with_2() -> Iterator[None]:
    """Errors that the user can mend are told in one line."""
    from re2tal.data.annotations import AnnotationError
    from re2tal.labels import SourceError

    try:
        yield
    except (SourceError, AnnotationError, NotWritableError, OSError) as error:
        told = error if not isinstance(error, OSError) or error.errno is None else told_of_file(error)
        print(readable(f"error: {told}"), file=sys.stderr)
        sys.exit(2)
