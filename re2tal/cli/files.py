"""Commands that work on files: weights, data, predictions."""

import json as json_format
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import ConfigPath, Options, app, parse_tious
from re2tal.common.untrusted import visible_lines


@app.command
def import_weights(
    src: Path,
    dst: Path,
    /,
    *,
    config: Path | None = None,
    allow: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Check weights of another program tensor by tensor and write them under this package's names.

    Known are mmaction2's Video Swin and SlowFast, torchvision's Video Swin, the Re2 weights of both, and checkpoints
    of OpenTAD's detectors, of which the averaged weights are taken if there are any.

    Parameters
    ----------
    src
        A .pth or .safetensors file; nothing in it is executed.
    dst
        A .safetensors file, for backbone.pretrained or, if it holds a detector, --checkpoint.
    config
        The experiment whose backbone or detector it is; without, the closest published network.
    allow
        Names, or patterns like 'features.6.*', that may be missing, unexpected or of another shape.
    overwrite
        Replace dst if it is there.
    json
        Print one line of JSON and nothing else.
    """
    from re2tal.config import load_config
    from re2tal.experiments import import_weights as importing

    done = importing.import_weights(
        src, dst, config=None if config is None else load_config(config), allow=allow or [], overwrite=overwrite
    )
    print(json_format.dumps(done.as_json()) if json else visible_lines(str(done)))


@app.command
def check_data(
    config: ConfigPath,
    *,
    decode: Literal["ends", "all", "none"] = "ends",
    jobs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    findings: Annotated[Path | None, Parameter(name=["--list"])] = None,
    missing: Path | None = None,
    json: bool = False,
    cfg_options: Options = None,
) -> None:
    """Tell before a run what is missing, undecodable or inconsistent in its data.

    Ends with status 0 if nothing stops a run, 1 if something does, 2 if the command or the config is wrong.

    Parameters
    ----------
    decode
        The first and last second of every video, everything, or next to nothing.
    jobs
        Videos looked at at a time; by default one per processor core.
    findings
        File to write, with one line of JSON for each finding.
    missing
        File to write, with the id of every video that cannot be used, as data.missing takes it.
    json
        Print one line of JSON and nothing else.
    """
    from re2tal.config import ConfigError, load_config
    from re2tal.experiments import checking
    from re2tal.training import counting

    try:
        settings = load_config(config, cfg_options or [])
    except ConfigError as error:
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        sys.exit(2)
    with counting("videos") as tell:
        report = checking.check_data(settings, decode=decode, jobs=jobs or os.cpu_count() or 1, tell=tell)
    if findings is not None:
        report.write_findings(findings)
    if missing is not None:
        report.write_missing(missing)
    if json:
        print(json_format.dumps(report.as_json()))
    else:
        checking.print_report(report)
    sys.exit(1 if report.stops_a_run else 0)


@app.command
def evaluate(
    *,
    ground_truth: Path,
    predictions: Path,
    subset: str = "validation",
    tious: str = "0.3,0.4,0.5,0.6,0.7",
    blocked: Path | None = None,
    subset_file: Path | None = None,
    count_other_videos: bool = False,
    as_annotated: bool = False,
    per_class: bool = False,
    json: bool = False,
) -> None:
    """Compute the mAP of a file of predictions.

    ActivityNet's own evaluation code gives the figures of `--count-other-videos --as-annotated`.

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
    blocked
        JSON list of videos to leave out.
    subset_file
        CSV of video and subset, for annotations that do not tell the subset.
    count_other_videos
        Count predictions for videos outside the subset as false ones.
    as_annotated
        Count annotations that are empty or repeat another one, too.
    per_class
        Show every class.
    json
        Print one line of JSON, fractions instead of percent, and nothing else.
    """
    from re2tal.evaluation import evaluate_files, print_result

    result = evaluate_files(
        ground_truth,
        predictions,
        subset=subset,
        tious=parse_tious(tious),
        blocked=blocked,
        subset_file=subset_file,
        count_other_videos=count_other_videos,
        as_annotated=as_annotated,
    )
    if not json:
        print_result(result, title="mAP (%)", per_class=per_class)
        return
    line: dict[str, object] = {**result.metrics, "subset": subset, "num_videos": result.num_videos}
    line |= {"num_actions": result.num_actions, "num_predictions": result.num_predictions}
    line["num_ignored_predictions"] = result.num_other_videos + result.num_other_classes
    if per_class:
        line["per_class"] = {name: list(values) for name, values in result.per_class.items()}
    print(json_format.dumps(line))
