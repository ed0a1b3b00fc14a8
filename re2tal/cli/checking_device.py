"""The command `re2tal check-device`."""

import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import Device, app, tell_results
from re2tal.common.terminal import print_table
from re2tal.common.untrusted import readable


@app.command
def check_device(
    *,
    device: Device = None,
    minutes: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    out: Path = Path("device_check.json"),
) -> None:
    """Prove and measure the package on this machine's GPU: exact gradients, memory, time, what fits.

    Nothing is needed but the package: weights are random, videos are made. Each part runs in a process of its own, and
    its results are written down as soon as they are there; what there is no time for is left out. The exit status is 1
    if something is not exact, or fails.

    Parameters
    ----------
    device
        To check; by default a GPU if there is one. On a CPU everything is reduced.
    minutes
        It takes at most so many; by default 8, and 2 on a CPU.
    out
        File for the report; a picture is written beside it, as .svg.
    """
    import torch

    from re2tal.experiments.device_check import check_device as check
    from re2tal.experiments.device_check import has_passed, tables_of

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    minutes = minutes or (8.0 if device == "cuda" else 2.0)
    # Ended by another program, what it has started ends with it.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"checking {device}, for at most {minutes:g} minutes", file=sys.stderr)
    try:
        report = check(device, minutes=minutes, out=out, tell=lambda line: print(readable(line), file=sys.stderr))
    finally:
        signal.signal(signal.SIGTERM, before)
    for title, rows in tables_of(report):
        print_table(rows, title=title)
        print()
    print("Verdict:", *(f"* {readable(line)}" for line in report["verdict"]), sep="\n")
    tell_results(out, out.with_suffix(".svg"))
    if not has_passed(report):
        sys.exit(1)
