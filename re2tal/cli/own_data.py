"""Commands that begin with people's own videos and annotations: import, init."""

import json as json_format
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Json, app
from re2tal.common.untrusted import visible_lines

if TYPE_CHECKING:
    from re2tal.labels import ImportedLabels, ImportReport

Many = Parameter(consume_multiple=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ImportCall:
    """What is asked of `re2tal import`."""

    videos: Path
    """Folder of the videos, at any depth."""
    out: Path = Path("annotations.json")
    """The file to write."""
    format: str | None = None
    """What the files are, where the content is not recognised: csv, activitynet, thumos, multithumos, charades,
    epic-kitchens, elan, boris or via; or a format of your own, path/to/file.py:Name (docs/extending.md)."""
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
def import_(sources: list[Path], /, *, call: ImportCall) -> None:
    """Bring annotations of other programs and data sets, and the lengths of their videos, into one file to train on.

    Ends with status 0 if annotations were written, 1 if nothing in them could be used, 2 if the command is wrong.

    Parameters
    ----------
    sources
        Files, or folders of files: CSV or TSV, ActivityNet, THUMOS-14, MultiTHUMOS, Charades, EPIC-KITCHENS, ELAN
        (.eaf), BORIS (.boris and its tables), VIA 3 (JSON and CSV). The format is recognised by the content.
    """
    from re2tal import labels as own_data
    from re2tal.training import counting

    with _wrong_calls_end_with_2():
        if call.out.exists() and not call.overwrite:
            raise own_data.SourceError(f"{call.out} is there already; give another --out, or --overwrite")
        names = {} if call.classes is None else own_data.read_class_names(call.classes)
        reading = own_data.ReadOptions(
            unit=call.unit, columns=_columns(call.columns), label=tuple(call.label or ()), class_names=names
        )
        options = own_data.ImportOptions(
            label=tuple(call.label or ()),
            only=_only(call.only),
            fps=call.fps,
            point_seconds=call.point_length,
            split=call.split,
            resplit=call.resplit,
            empty=tuple(call.empty or ()),
            group=call.group,
            seed=call.seed,
            allow_links=call.allow_links,
        )
        readings = own_data.read_sources(sources, format_=call.format, options=reading)
        with counting("videos") as tell:
            imported = own_data.import_annotations(readings, videos=call.videos, options=options, tell=tell)
        _write(imported, out=call.out, problems=call.problems)
    _tell(imported.report, out=call.out, json=call.json)
    sys.exit(0 if imported.report.num_segments else 1)


def _write(imported: "ImportedLabels", *, out: Path, problems: Path | None) -> None:
    from re2tal.labels import write_annotations

    if problems is not None:
        imported.report.write_problems(problems)
    if imported.report.num_segments:
        write_annotations(imported, out)


def _tell(report: "ImportReport", *, out: Path, json: bool) -> None:
    from re2tal.labels import print_report

    written = str(out) if report.num_segments else None
    if json:
        print(json_format.dumps({"out": written, **report.as_json()}, ensure_ascii=False))
        return
    print_report(report)
    if written is None:
        print("Nothing can be used; nothing was written", file=sys.stderr)
    else:
        print(f"\nWrote {out}. Next: re2tal init my_experiment --annotations {out}")


@app.command
def init(
    folder: Path,
    /,
    *,
    annotations: Path | None = None,
    videos: Path | None = None,
    size: Literal["small", "medium", "large"] | None = None,
    pretrained: Path | None = None,
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
        if path.exists() and not overwrite:
            raise own_data.SourceError(f"{path} is there already; give another folder, or --overwrite")
        if pretrained is not None and not pretrained.is_file():
            raise own_data.SourceError(f"there is no file of weights {pretrained}")
        if pretrained is not None and size not in (None, "large"):
            raise own_data.SourceError(f"--pretrained is for --size large, got {size}; leave one of them out")
        data = own_data.load_data_set(_find_annotations(folder, annotations), videos=videos, allow_links=allow_links)
        machine = _machine()
        chosen = size or ("large" if pretrained else "medium" if machine.gpu else "small")
        measures = own_data.measure(data)
        choices = own_data.choose(measures, size=chosen, memory_mib=machine.memory_mib)
        text = own_data.config_text(
            data,
            measures,
            choices,
            name=folder.resolve().name or "own_data",
            folder=folder,
            pretrained=None if pretrained is None else pretrained.resolve(),
            bf16=machine.bf16,
        )
        own_data.write_config(text, path)
    if json:
        line = {"config": str(path), "size": chosen, "window_seconds": choices.window_seconds}
        names = ("num_steps", "seconds_per_step", "levels", "epochs", "negative_share")
        line |= {name: getattr(choices, name) for name in names}
        line["minutes"] = measures.time.as_json()
        print(json_format.dumps(line))
        return
    seen = "whole videos" if choices.whole_video else f"windows of {choices.window_seconds:.2f} s"
    print(f"Wrote {path} ({chosen}): {seen} in {choices.num_steps} steps of {choices.seconds_per_step:.3g} s,")
    print(f"{choices.levels} levels, {choices.epochs} epochs. The file says why.")
    negatives = f"; {choices.negative_share:.0%} of the training clips show none" if choices.negative_share else ""
    print(f"To train on: {measures.time.in_words()}{negatives}. Next:")
    print(f"  re2tal check-data {path}\n  re2tal train {path}\n  re2tal test {path}")


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
    bf16: bool
    """Computes in bfloat16 fast."""
    memory_mib: int
    """0 if it does not tell."""


def _machine() -> _Machine:
    import torch

    gpu = torch.cuda.is_available()
    # Processors without instructions for it convert every number, which takes longer than float32.
    on_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        memory = 0
    return _Machine(gpu=gpu, bf16=torch.cuda.is_bf16_supported() if gpu else on_cpu(), memory_mib=memory)


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
    except (SourceError, AnnotationError, OSError) as error:
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        sys.exit(2)
