"""Commands that hold predictions against the ground truth: evaluate, diagnose."""

import json as json_format
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import app, parse_tious
from re2tal.common.untrusted import shown

if TYPE_CHECKING:
    from re2tal.evaluation import GroundTruth, PrecisionResult, Predictions

Counts = Annotated[list[int] | None, Parameter(consume_multiple=True, validator=Number(gte=1))]
Json = Annotated[bool, Parameter(help="Print one line of JSON, fractions instead of percent, and nothing else.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is compared with what."""

    ground_truth: Path
    """Annotations of ActivityNet's layout."""
    predictions: Path
    """Predictions of ActivityNet's submission layout."""
    subset: str = "validation"
    """Which videos to evaluate."""
    tious: str = "0.3,0.4,0.5,0.6,0.7"
    """Temporal IoU thresholds, separated by commas."""
    blocked: Path | None = None
    """JSON list of videos to leave out."""
    subset_file: Path | None = None
    """CSV of video and subset, for annotations that do not tell the subset."""
    count_other_videos: bool = False
    """Count predictions for videos outside the subset as false ones."""
    as_annotated: bool = False
    """Count annotations that are empty or repeat another one, too."""

    def read(self, *, points: bool = False) -> "tuple[GroundTruth, Predictions]":
        """Both files; whether annotations without length count, as point events."""
        from re2tal.evaluation import read_files

        return read_files(
            self.ground_truth,
            self.predictions,
            subset=self.subset,
            blocked=self.blocked,
            subset_file=self.subset_file,
            as_annotated=self.as_annotated,
            point_seconds=0.0 if points else None,
        )


@app.command
def evaluate(
    judged: Judged,
    *,
    points: bool = False,
    tolerances: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    frame_rate: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    recall: Counts = None,
    average_recall: Counts = None,
    epic: bool = False,
    per_class: bool = False,
    json: Json = False,
) -> None:
    """Compute the mAP of a file of predictions and, where videos show no action, false alarms per hour.

    Predictions of which more than half lies where nobody has looked ("labelled" of the annotations) do not count.
    ActivityNet's own evaluation code gives the figures of `--count-other-videos --as-annotated`, SoccerNet's those of
    `--points --frame-rate 2`.

    Of predictions of one class with tied scores, the one that stands last in the file counts first, as ActivityNet's
    code has it, which reads an ascending sort backwards (and whose sort leaves longer ties in no certain order). Where
    many scores are tied, as rounded ones are, the mAP depends on the order of the file.

    Parameters
    ----------
    points
        Measure point events, or the middles of segments, at tolerances in time instead of tIoU.
    tolerances
        With --points: widths in seconds of the window around an event, such as 1 2 5; or tight (1 to 5 seconds, the
        default) or loose (5 to 60).
    frame_rate
        With --points: frames per second that times are cut to before they are compared, as SoccerNet does; of several
        predictions of a class in one frame, the last one of the file counts. By default times are compared as they are.
    recall
        Show recall@kx for these k too, such as 1 5 for Ego4D's: for each n actions of a class in a video its k * n best
        predictions of that class count.
    average_recall
        Show average recall at these average numbers of predictions of a video (AR@AN), whatever their class, such as 1
        5 10 100 for ActivityNet's proposals.
    epic
        Measure verbs, nouns and actions of EPIC-KITCHENS-100: from EPIC_100_validation.csv, or annotations with
        verb_label and noun_label, and a submission to its challenge, usually with --tious 0.1,0.2,0.3,0.4,0.5. Its own
        code gives the figures of `--count-other-videos --as-annotated`.
    per_class
        Show every class.
    """
    from re2tal.evaluation import mean_average_precision, print_result, spotting_precision

    if points and judged.count_other_videos:
        raise ValueError("--points counts the videos of the subset alone; leave --count-other-videos out")
    if tolerances and not points:
        raise ValueError("--tolerances are for point events; give --points too")
    if points and (recall or average_recall or epic):
        raise ValueError("--recall, --average-recall and --epic measure segments at tIoU; leave --points out")
    if epic:
        _evaluate_epic(judged, recall=recall or (), average_recall=average_recall, per_class=per_class, json=json)
        return
    tious, widths = parse_tious(judged.tious), parse_tolerances(tolerances)  # before anything is read
    truth, found = judged.read(points=points)
    result: PrecisionResult
    if points:
        result = spotting_precision(truth, found, tolerances=widths, frame_rate=frame_rate)
    else:
        result = mean_average_precision(
            truth,
            found,
            tious=tious,
            count_other_videos=judged.count_other_videos,
            recall_multiples=recall or (),
            average_recall_at=average_recall or (),
        )
    if json:
        print(
            json_format.dumps({**result.metrics, "subset": judged.subset, **result.counts, **_more(result, per_class)})
        )
    else:
        print_result(result, title="mAP (%)", per_class=per_class)


def _more(result: "PrecisionResult", per_class: bool) -> dict[str, object]:
    """False alarms, where they are counted, and the classes, where they are asked for."""
    more = result.as_json()
    return more if per_class else {name: value for name, value in more.items() if not name.startswith("per_class")}


def _evaluate_epic(
    judged: Judged, *, recall: Sequence[int], average_recall: Sequence[int] | None, per_class: bool, json: bool
) -> None:
    from re2tal.evaluation import epic_precision, print_result

    if average_recall or judged.blocked or judged.subset_file:
        raise ValueError("--epic goes without --average-recall, --blocked and --subset-file; leave them out")
    results = epic_precision(
        judged.ground_truth,
        judged.predictions,
        subset=judged.subset,
        tious=parse_tious(judged.tious),
        as_annotated=judged.as_annotated,
        count_other_videos=judged.count_other_videos,
        recall_multiples=recall,
    )
    if json:
        told = {
            task: {**result.metrics, **result.counts, **_more(result, per_class)} for task, result in results.items()
        }
        print(json_format.dumps({"subset": judged.subset, **told}))
        return
    for task, result in results.items():
        print_result(result, title=f"{task}: mAP (%)", per_class=per_class)


@app.command
def diagnose(judged: Judged, *, bins: Literal["thumos", "anet", "quantiles"] | None = None, json: Json = False) -> None:
    """Tell which errors the predictions make, what each costs, and which actions are hard to find.

    The analyses of DETAD (Alwassel et al., ECCV 2018), from the files that `evaluate` takes.

    Parameters
    ----------
    bins
        What counts as a short or a long action: as published for THUMOS-14 or for ActivityNet, or so that every
        bin holds a fifth of the actions; by default what suits the actions.
    """
    from re2tal.evaluation import diagnosis

    tious = parse_tious(judged.tious)
    truth, found = judged.read()
    result = diagnosis.diagnose(truth, found, tious=tious, bins=bins, count_other_videos=judged.count_other_videos)
    if json:
        print(json_format.dumps({"subset": judged.subset, **result.as_json()}))
    else:
        diagnosis.print_diagnosis(result)


def parse_tolerances(words: list[str] | None) -> tuple[float, ...]:
    """What `--tolerances` says."""
    from re2tal.evaluation import LOOSE, TIGHT

    named = {"tight": TIGHT, "loose": LOOSE}
    parts = [part for word in words or ["tight"] for part in word.split(",") if part]
    if len(parts) == 1 and parts[0] in named:
        return named[parts[0]]
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if not values or not all(0 < value < float("inf") for value in values):
        raise ValueError(f"--tolerances must be seconds above 0, such as 1 2 5, or tight or loose, got {shown(words)}")
    return values
