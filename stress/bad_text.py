"""Bad text: whatever stands in a file, reading it gives a value or one of the package's own errors.

    python stress/bad_text.py [--cases 60000] [--segments 1000000] [--seed 0] [--only NAME ...] [--json]

Sound documents of every layout that is read are damaged (values of other types, NaN, numbers of 5,000 digits, nesting
of 100,000 levels, keys that come twice, control characters, other encodings, bytes cut off or changed, nothing but
random bytes) and given to the readers that the commands use. A case is "read", or "refused" by an error of the package
(a ValueError whose class it defines) that names the file; anything else breaks the promise of docs/reliability.md, and
so does a warning. Before that, files of a million segments of one video are read, within bounds of time and memory.
Status 1 if any of it does not hold.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from text_corpus.reading import TARGETS, Target

from re2tal.data.annotations import read_annotations
from re2tal.evaluation import read_ground_truth, read_predictions

SLOW_SECONDS = 10.0
"""That no case may take, of the processor's time."""
MANY_SECONDS = 120.0
MANY_KIB_EACH = 4.0
"""What reading many segments may take: processor's time in all, memory for each."""


@dataclass(kw_only=True)
class Outcomes:
    """What came of the cases of one target."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """By the name of their class."""
    slowest_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)
    """The first case that was neither read nor refused, and how it ended."""


def outcome_of(target: Target, case: Any) -> str:
    """The name of the error that refused a case; "" if it was read. Any other end is an AssertionError."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = Path(name)
        try:
            target.read(folder, case)
        except Exception as error:
            is_own = isinstance(error, ValueError) and type(error).__module__.startswith("re2tal.")
            if not is_own:
                raise AssertionError(f"{case!r:.2000}\n{traceback.format_exc(limit=-6)}") from error
            if any(folder.iterdir()) and name not in str(error):
                raise AssertionError(f"{case!r:.2000}\nthe error names no file: {error}") from error
            return type(error).__name__
    return ""


def run_target(target: Target, *, num_cases: int, seed_: int) -> Outcomes:
    """Draw cases until one breaks the promise, or until there are enough."""
    found = Outcomes()

    @seed(seed_)
    @settings(
        max_examples=num_cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.cases)
    def draw(case: Any) -> None:
        start = time.process_time()
        error = outcome_of(target, case)
        seconds = time.process_time() - start
        assert seconds < SLOW_SECONDS, f"{case!r:.2000}\ntook {seconds:.0f} s"
        found.slowest_seconds = max(found.slowest_seconds, seconds)
        found.counts["refused" if error else "read"] += 1
        found.errors.update([error] if error else [])

    try:
        draw()
    except AssertionError as error:
        found.broken.append(str(error))
    return found


def read_many(count: int) -> tuple[dict[str, float], bool]:
    """Seconds of the processor to read `count` segments of one video as each kind of file, and the KiB of each."""
    rows = [{"segment": [0.01 * row, 0.01 * row + 2.0], "label": "run", "score": 0.5} for row in range(count)]
    entry = {"subset": "training", "duration": 0.01 * count + 3.0, "annotations": rows}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        truth, found = Path(name, "truth.json"), Path(name, "found.json")
        truth.write_text(json.dumps({"database": {"one": entry}}))
        found.write_text(json.dumps({"results": {"one": rows}}))
        reads: dict[str, Callable[[], int]] = {
            "annotations": lambda: len(read_annotations(truth).videos[0].actions),
            "ground truth": lambda: len(read_ground_truth(truth, subset="training").segments),
            "predictions": lambda: len(read_predictions(found).segments),
        }
        is_whole = True
        for kind, read in reads.items():
            start = time.process_time()
            is_whole &= read() == count
            seconds[kind] = round(time.process_time() - start, 1)
    kib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / count
    holds = is_whole and sum(seconds.values()) < MANY_SECONDS and kib < MANY_KIB_EACH
    return {**seconds, "kib_per_segment": round(kib, 2)}, holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=60_000, help="of all targets together")
    parser.add_argument("--segments", type=int, default=1_000_000, help="of one file; 0 leaves that out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="targets whose name begins so")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    arguments = parser.parse_args()
    chosen = {
        name: target for name, target in TARGETS.items() if not arguments.only or name.startswith(tuple(arguments.only))
    }
    total = sum(target.weight for target in chosen.values())
    rows = {}
    many, holds = read_many(arguments.segments) if arguments.segments else ({}, True)
    if many and not arguments.json:
        told = ", ".join(f"{kind} {value}" for kind, value in many.items())
        print(f"{arguments.segments} segments in one file, seconds: {told}{'' if holds else ' BROKEN'}\n")
    if not arguments.json:
        print(f"{'':32}   cases    read refused  broken  slowest  errors")
    for name, target in chosen.items():
        found = run_target(
            target, num_cases=max(round(arguments.cases * target.weight / total), 1), seed_=arguments.seed
        )
        counts = [found.counts["read"], found.counts["refused"], len(found.broken)]
        rows[name] = dict(zip(("read", "refused", "broken"), counts, strict=True)) | {
            "slowest_seconds": round(found.slowest_seconds, 3),
            "errors": dict(found.errors),
        }
        if not arguments.json:
            errors = ", ".join(f"{error} {count}" for error, count in found.errors.most_common())
            figures = "".join(f"{count:8d}" for count in (sum(counts), *counts))
            print(f"{name:32}{figures}{found.slowest_seconds:7.2f} s  {errors}", flush=True)
        for text in found.broken:
            print(f"BROKEN: {name}: {text}", file=sys.stderr)
    sums = {key: sum(row[key] for row in rows.values()) for key in ("read", "refused", "broken")}
    if arguments.json:
        print(json.dumps({"seed": arguments.seed, "cases": sum(sums.values()), **sums, "many": many, "targets": rows}))
    else:
        print(f"{'all':32}{sum(sums.values()):8d}" + "".join(f"{value:8d}" for value in sums.values()))
    sys.exit(1 if sums["broken"] or not holds else 0)


if __name__ == "__main__":
    main()
