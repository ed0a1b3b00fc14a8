"""Commands that hold predictions against the ground truth: evaluate, diagnose."""

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from re2tal.cli.app import app, parse_tious

if TYPE_CHECKING:
    from re2tal.evaluation import GroundTruth, Predictions

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

    def read(self) -> "tuple[GroundTruth, Predictions]":
        """Both files."""
        from re2tal.evaluation import read_files

        return read_files(
            self.ground_truth,
            self.predictions,
            subset=self.subset,
            blocked=self.blocked,
            subset_file=self.subset_file,
            as_annotated=self.as_annotated,
        )


@app.command
def evaluate(judged: Judged, *, per_class: bool = False, json: Json = False) -> None:
    """Compute the mAP of a file of predictions and, where videos show no action, false alarms per hour.

    Predictions of which more than half lies where nobody has looked ("labelled" of the annotations) do not count.
    ActivityNet's own evaluation code gives the figures of `--count-other-videos --as-annotated`.

    Parameters
    ----------
    per_class
        Show every class.
    """
    from re2tal.evaluation import mean_average_precision, print_result

    truth, found = judged.read()
    tious = parse_tious(judged.tious)
    result = mean_average_precision(truth, found, tious=tious, count_other_videos=judged.count_other_videos)
    if not json:
        print_result(result, title="mAP (%)", per_class=per_class)
        return
    line: dict[str, object] = {**result.metrics, "subset": judged.subset, **result.counts}
    if result.false_alarms is not None:
        line["false_alarms"] = result.false_alarms.as_json()
    if per_class:
        line["per_class"] = {name: list(values) for name, values in result.per_class.items()}
    print(json_format.dumps(line))


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

    truth, found = judged.read()
    tious = parse_tious(judged.tious)
    result = diagnosis.diagnose(truth, found, tious=tious, bins=bins, count_other_videos=judged.count_other_videos)
    if json:
        print(json_format.dumps({"subset": judged.subset, **result.as_json()}))
    else:
        diagnosis.print_diagnosis(result)
