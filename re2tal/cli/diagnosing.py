"""The command that tells why the mAP is what it is."""

import json as json_format
from pathlib import Path
from typing import Literal

from re2tal.cli.app import app, parse_tious


@app.command
def diagnose(
    *,
    ground_truth: Path,
    predictions: Path,
    subset: str = "validation",
    tious: str = "0.3,0.4,0.5,0.6,0.7",
    bins: Literal["thumos", "anet", "quantiles"] | None = None,
    blocked: Path | None = None,
    subset_file: Path | None = None,
    count_other_videos: bool = False,
    as_annotated: bool = False,
    json: bool = False,
) -> None:
    """Tell which errors the predictions make, what each costs, and which actions are hard to find.

    The analyses of DETAD (Alwassel et al., ECCV 2018), from the files that `evaluate` takes.

    Parameters
    ----------
    ground_truth
        Annotations of ActivityNet's layout.
    predictions
        Predictions of ActivityNet's submission layout.
    subset
        Which videos to evaluate.
    tious
        Temporal IoU thresholds, separated by commas.
    bins
        What counts as a short or a long action: as published for THUMOS-14 or for ActivityNet, or so that every
        bin holds a fifth of the actions; by default what suits the actions.
    blocked
        JSON list of videos to leave out.
    subset_file
        CSV of video and subset, for annotations that do not tell the subset.
    count_other_videos
        Count predictions for videos outside the subset as false ones.
    as_annotated
        Count annotations that are empty or repeat another one, too.
    json
        Print one line of JSON, fractions instead of percent, and nothing else.
    """
    from re2tal.evaluation import diagnosis, read_files

    truth, found = read_files(
        ground_truth,
        predictions,
        subset=subset,
        blocked=blocked,
        subset_file=subset_file,
        as_annotated=as_annotated,
    )
    result = diagnosis.diagnose(
        truth, found, tious=parse_tious(tious), bins=bins, count_other_videos=count_other_videos
    )
    if json:
        print(json_format.dumps({"subset": subset, **result.as_json()}))
    else:
        diagnosis.print_diagnosis(result)
