"""Commands that count what was seen, and compare who saw it: summarize, agreement."""

import json as json_format
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Json, app
from re2tal.common.untrusted import shown, some, visible

if TYPE_CHECKING:
    from re2tal.evaluation.bouts import Observed
    from re2tal.evaluation.bouts.tables import FigureTable

Many = Parameter(consume_multiple=True)
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BoutChoice:
    """What counts as a bout."""

    threshold: Annotated[list[str] | None, Many] = None
    """Score that a detection needs (by default 0.3), and of single classes as LABEL=SCORE."""
    merge_gap: Annotated[float | None, Parameter(validator=Number(gte=0))] = None
    """Join bouts of one class at most so many seconds apart; 0 joins those that touch. Those that overlap are joined
    in any case."""
    min_bout: Seconds = 0.0
    """Leave out bouts shorter than so many seconds, after joining; point events stay."""
    subset: Annotated[list[str] | None, Many] = None
    """Subsets of the annotations that count; by default all."""
    videos: Path | None = None
    """Folder of the video files, which tell the lengths of the videos that the file does not tell."""

    def read(self, path: Path, *, annotator: str | None) -> "Observed":
        """What was observed in the videos of a file."""
        from re2tal.evaluation.bouts import BoutRules, read_observed

        threshold, thresholds = _thresholds(self.threshold or [])
        rules = BoutRules(
            threshold=threshold,
            thresholds=thresholds,
            merge_gap=self.merge_gap,
            min_bout=self.min_bout,
            annotator=annotator,
            subset=tuple(self.subset or ()),
        )
        observed = read_observed(path, rules=rules)
        if self.videos is not None and observed.without_length:
            observed = read_observed(path, rules=rules, seconds=_lengths(observed.without_length, folder=self.videos))
        return observed


@app.command
def summarize(
    file: Path,
    /,
    *,
    choice: BoutChoice | None = None,
    annotator: str | None = None,
    bin_seconds: Annotated[float, Parameter(name=["--bin"], validator=Number(gt=0))] = 60.0,
    out: Path = Path("summary"),
    json: Json = False,
) -> None:
    """Count bouts by class and video: how many, how long, when, what follows what; as CSV files and as a page.

    Parameters
    ----------
    file
        Annotations of ActivityNet's layout, or detections.
    annotator
        Count the annotations of this annotator only.
    bin_seconds
        Seconds of a bin of the time budget.
    out
        Folder to write to.
    """
    from re2tal.evaluation.bouts import summarize_classes, summary_tables
    from re2tal.report import write_summary

    choice = choice or BoutChoice()
    observed = choice.read(file, annotator=annotator)
    notes = [*observed.notes]
    if unknown := observed.without_length:
        notes.append(
            f"the length of {len(unknown)} videos is not known ({some([shown(name) for name in unknown])}), so they "
            "are taken to end with their last bout; --videos FOLDER tells it"
        )
    tables = summary_tables(observed.observations, bin_seconds=bin_seconds)
    written = [*_write(tables, out), out / "summary.html"]
    write_summary(written[-1], observed.observations, title=file.name, bin_seconds=bin_seconds, notes=notes)
    classes = summarize_classes(observed.observations)
    if json:
        line = {"out": str(out), "files": [path.name for path in written], "num_videos": len(observed.observations)}
        figures = [
            asdict(item) | {"bouts_per_minute": item.bouts_per_minute, "share_of_time": item.share_of_time}
            for item in classes
        ]
        print(json_format.dumps({**line, "classes": figures, "notes": notes}))
        return
    from re2tal.evaluation.bouts import print_summary

    print_summary(classes, num_videos=len(observed.observations))
    _tell(notes)
    print(f"Wrote {out}: {', '.join(path.name for path in written)}")


@app.command
def agreement(
    a: Path,
    b: Path | None = None,
    /,
    *,
    annotators: Annotated[list[str] | None, Many] = None,
    choice: BoutChoice | None = None,
    tolerance: Seconds = 0.5,
    tiou: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.5,
    step: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Tell how far two annotators agree, or an annotator and a network: precision, recall, F1, Cohen's kappa.

    Parameters
    ----------
    a
        Annotations (ActivityNet's layout) or detections; the reference.
    b
        What is compared with it; not needed for two annotators of one file.
    annotators
        Two names: whose annotations of the first and of the second file are meant.
    tolerance
        Seconds that the starts and the ends of two bouts may lie apart.
    tiou
        Temporal IoU that two bouts must have.
    step
        Seconds of a time step; by default a frame, where a file tells the rate, else 0.04.
    out
        Folder for the figures and the confusion matrix as CSV files.
    """
    from re2tal.evaluation.bouts import agreement_tables, measure_agreement, paired_observations, print_agreement

    names = tuple(annotators or ())
    if len(names) not in (0, 2) or (len(names) == 0 and b is None):
        raise ValueError(
            f"two observers are compared, got {shown(names)} and one file; give another file, or two --annotators"
        )
    choice = choice or BoutChoice()
    seen = [choice.read(path, annotator=name) for path, name in zip((a, b or a), names or (None, None), strict=True)]
    pairs, notes = paired_observations(*seen, same_file=b is None)
    result = measure_agreement(pairs, tolerance=tolerance, tiou=tiou, step_seconds=step)
    if out is not None:
        _write(agreement_tables(result), out)
    if json:
        print(json_format.dumps({**result.as_json(), "notes": notes}))
        return
    print_agreement(result, names=(names[0], names[1]) if names else (a.name, (b or a).name))
    _tell(notes)


def _write(tables: "dict[str, FigureTable]", folder: Path) -> list[Path]:
    from re2tal.common.csv_files import write_csv

    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        write_csv(paths[-1], table.header, table.rows)
    return paths


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {visible(note)}")


def _thresholds(words: list[str]) -> tuple[float | None, dict[str, float]]:
    """What `--threshold` says: of all classes, and of single ones."""
    overall, of_class = None, {}
    for word in words:
        label, equals, score = word.rpartition("=")
        try:
            value = float(score)
        except ValueError:
            value = float("nan")
        if value != value or (equals and not label) or (not equals and overall is not None):
            raise ValueError(f"--threshold takes a score and LABEL=SCORE, such as 0.4 walk=0.6, got {shown(words)}")
        if equals:
            of_class[label] = value
        else:
            overall = value
    return overall, of_class


def _lengths(ids: Iterable[str], *, folder: Path) -> dict[str, float]:
    """Seconds, of the videos whose file is found and can be read."""
    from re2tal.report import find_videos
    from re2tal.video import VideoError, probe

    lengths = {}
    for name, path in find_videos(ids, folder=folder).files.items():
        with suppress(VideoError, OSError):
            lengths[name] = probe(path).duration_seconds
    return lengths
