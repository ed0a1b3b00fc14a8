"""Commands that work on files: weights, data."""

import json as json_format
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import ConfigPath, Json, Options, app, tell_results
from re2tal.common.atomic import require_writable
from re2tal.common.untrusted import readable, visible_lines


@app.command
def import_weights(
    src: Path,
    dst: Path,
    /,
    *,
    config: Path | None = None,
    allow: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    overwrite: bool = False,
    json: Json = False,
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
    """
    from re2tal.config import load_config
    from re2tal.experiments import import_weights as importing

    done = importing.import_weights(
        src, dst, config=None if config is None else load_config(config), allow=allow or [], overwrite=overwrite
    )
    if json:
        print(json_format.dumps(done.as_json()))
        return
    print(visible_lines(str(done)))
    tell_results(done.destination)


@app.command
def check_data(
    config: ConfigPath,
    *,
    decode: Literal["ends", "all", "none"] = "ends",
    jobs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    findings: Annotated[Path | None, Parameter(name=["--list"])] = None,
    missing: Path | None = None,
    json: Json = False,
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
    """
    from re2tal.config import ConfigError, load_config
    from re2tal.experiments import checking
    from re2tal.training import counting

    try:
        settings = load_config(config, cfg_options or [])
    except ConfigError as error:
        print(readable(f"error: {error}"), file=sys.stderr)
        sys.exit(2)
    require_writable(findings, missing)
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
        tell_results(findings, missing)
    sys.exit(1 if report.stops_a_run else 0)
