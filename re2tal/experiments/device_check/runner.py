"""Runs the parts of a check one after the other, each in a process of its own, and keeps what each has found."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from re2tal import __version__
from re2tal.common.atomic import atomic_text, require_writable
from re2tal.common.untrusted import brief
from re2tal.experiments.device_check.child import LONGEST_ERROR
from re2tal.experiments.device_check.context import Row
from re2tal.experiments.device_check.parts import PARTS, Part
from re2tal.experiments.device_check.picture import draw_report
from re2tal.experiments.device_check.sizes import Sizes, sizes_for
from re2tal.experiments.device_check.verdict import verdict_of

__all__ = ["DeviceCheckError", "Result", "check_device"]

_TO_END = 3.0
"""Seconds before its limit in which a part should end by itself."""
_LEAST = 5.0
"""Seconds without which no part is begun: importing PyTorch takes some of them."""
_LEAST_LIMIT = 20.0
"""Seconds that every part may take, while there are so many."""


class DeviceCheckError(ValueError):
    """A device that cannot be checked."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a part ended, and what it has found until then."""

    name: str
    kind: str
    state: str
    """done, failed, out of memory, out of time, or skipped, for want of time."""
    seconds: float
    rows: list[Row]
    error: str = ""


def check_device(
    device_type: str,
    *,
    minutes: float,
    out: Path,
    sizes: Sizes | None = None,
    parts: Sequence[Part] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Prove and measure the package on a device.

    Args:
        device_type: cuda or cpu.
        minutes: that it may take in all.
        out: file for the report, replaced whole after every part; a picture is written beside it.
        sizes: of what is checked; None: what suits the device.
        parts: in order; None: all.
        tell: is called with lines of progress.

    Returns:
        The report, of plain JSON values.

    Raises:
        DeviceCheckError: there is no such device, or no time.
        NotWritableError: `out` has no place.
    """
    if device_type == "cuda" and not torch.cuda.is_available():
        built = "built for CUDA" if torch.version.cuda else "built without CUDA"
        raise DeviceCheckError(
            f"there is no CUDA device that torch can use (torch {torch.__version__}, {built}), got --device cuda; look "
            "at nvidia-smi and install a torch that fits its driver, or give --device cpu for a reduced check"
        )
    if not minutes > 0:
        raise DeviceCheckError(f"minutes must be above 0, got {minutes:g}; 8 are enough for a GPU, 2 for a CPU")
    require_writable(out, out.with_suffix(".svg"))
    device = torch.device(device_type, 0) if device_type == "cuda" else torch.device(device_type)
    sizes, parts = sizes or sizes_for(device), PARTS if parts is None else parts
    end = time.time() + 60 * minutes
    report: dict[str, Any] = {
        "schema": 1,
        "re2tal": __version__,
        "device": device_type,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": minutes,
        "sizes": sizes.model_dump(mode="json"),
        "parts": [],
    }
    for number, part in enumerate(parts, start=1):
        seconds = min(end - time.time(), max(60 * minutes * part.share, _LEAST_LIMIT))
        tell(f"{number}/{len(parts)} {part.name}: {max(seconds, 0):.0f} s at most")
        result = _run(part, device=device, sizes=sizes, seconds=seconds)
        tell(f"    {result.state} after {result.seconds:.0f} s{': ' if result.error else ''}{result.error}")
        report["parts"].append(asdict(result))
        report["verdict"] = verdict_of(report)
        _write(report, out)
    return report


def _write(report: dict[str, Any], out: Path) -> None:
    with atomic_text(out) as file:
        file.write(json.dumps(report, indent=1) + "\n")
    with atomic_text(out.with_suffix(".svg")) as file:
        file.write(draw_report(report))


def _run(part: Part, *, device: torch.device, sizes: Sizes, seconds: float) -> Result:
    if seconds < _LEAST:
        return Result(name=part.name, kind=part.kind, state="skipped", seconds=0.0, rows=[], error="no time was left")
    start = time.time()
    with tempfile.TemporaryDirectory() as name:
        found, said = Path(name) / "found.json", Path(name) / "said.txt"
        spec = {
            "function": part.function,
            "options": part.options,
            "device": str(device),
            "sizes": sizes.model_dump(mode="json"),
            "deadline": start + seconds - _TO_END,
            "path": str(found),
        }
        with said.open("wb") as output:
            command = [sys.executable, "-m", "re2tal.experiments.device_check.child", json.dumps(spec)]
            # A session of its own: what it has started can be ended with it.
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            with _ended_with_us(process):
                code = _wait(process, seconds=seconds)
        rows, state, error = [], "done", ""
        if found.is_file():
            kept = json.loads(found.read_text(encoding="utf-8"))
            rows, state, error = kept["rows"], kept["state"], kept["error"]
        if code is None:
            state, error = "out of time", f"stopped after {seconds:.0f} s"
        elif code != 0:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            last = " ".join(said.read_text(encoding="utf-8", errors="replace").split())[-LONGEST_ERROR:]
            state, error = "failed", brief(f"its process ended {how}; it said last: {last}", length=2 * LONGEST_ERROR)
    elapsed = round(time.time() - start, 1)
    return Result(name=part.name, kind=part.kind, state=state, seconds=elapsed, rows=rows, error=error)


def _wait(process: subprocess.Popen[bytes], *, seconds: float) -> int | None:
    """How the process ended; None: it did not in its time."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave neither the process nor what it has started behind."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
