"""Whether rewired networks compute what they should whatever else is done to them.

    python stress/modifications.py [--networks 5000] [--first 0] [--only N ...] [--seconds S] [--jobs J]
                                   [--self-check] [--json]

Random small residual networks (convolutions, attention, MLPs, norms of every kind, dropout, drop path; in an
nn.Sequential, a loop, or stages) are rewired, and before, after, between steps and between forward and backward up to
four of some hundred things are done to them: hooks, adapters, frozen parameters, changed attributes, replaced blocks,
modes that are switched, unusual inputs ... Then two or three steps of SGD in mode "reversible" are compared with plain
autograd, to which the same is done: outputs, gradients, parameters, buffers, counters, what hooks see, and the random
numbers that follow. Twice: with alpha = 1 and beta = 0 against the network that was never rewired; with alpha = 0 and
beta = 1 against two streams in plain torch, or against mode "store" where what is done gives blocks another form.

A case is "equal"; "stored": equal, with a warning; "refused": by an error of the package, or the one that plain
autograd raises; a "silent difference"; or a "crash", which is an error of another kind. Of the last two, the fewest
modifications that still show it are printed. Status 1 if there is one. --self-check compares plain autograd with itself
instead, to show that a difference is none of this program's, and counts the cases in which each modification mattered.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from typing import Any

import torch
from modifying.judging import FAILED, OUTCOMES, Verdict, compare, judge, smallest
from modifying.running import Case, Way, draw_case, run
from modifying.table import MODIFICATIONS

SETTINGS = {"original": "alpha=1, beta=0", "re2tal": "alpha=0, beta=1"}
PRINTED = 100
"""Failing cases that are printed at their full length."""


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    number: int
    outcome: str
    """The worst of both settings."""
    text: str
    setting: str
    network: str
    modifications: tuple[str, ...]
    """Names, of all that was done."""
    smallest: tuple[str, ...]
    """The fewest that still fail, as text; only of one that does."""
    to_blame: tuple[str, ...]
    """Their names."""


def examine(number: int) -> Result:
    """Run the case of a number."""
    case = draw_case(number)
    verdicts = {setting: judge(case, setting=setting) for setting in SETTINGS}
    setting, verdict = max(verdicts.items(), key=lambda item: OUTCOMES.index(item[1].outcome))
    least = case
    if verdict.outcome in FAILED:
        least, verdict = smallest(case, verdict, setting=setting)
    return result_of(case, verdict, setting=setting, least=least)


def result_of(case: Case, verdict: Verdict, *, setting: str, least: Case) -> Result:
    """For people, and for another process."""
    failed = verdict.outcome in FAILED
    return Result(
        number=case.number,
        outcome=verdict.outcome,
        text=verdict.text,
        setting=setting,
        network=f"{case.spec}; {case.steps} steps",
        modifications=tuple(planned.name for planned in case.modifications),
        smallest=tuple(map(str, least.modifications)) if failed else (),
        to_blame=tuple(planned.name for planned in least.modifications) if failed else (),
    )


def check_itself(number: int) -> Result:
    """Plain autograd against itself; "stored" stands for a case that its modifications made no difference to."""
    case = draw_case(number)
    again = [run(case, Way("plain")) for _ in range(2)]
    verdict = compare(*again)
    if verdict.outcome == "equal":
        unmodified = compare(again[0], run(replace(case, modifications=()), Way("plain")))
        verdict = Verdict("equal" if unmodified.outcome in FAILED else "stored")
    return result_of(case, verdict, setting="original", least=case)


@dataclass
class Summary:
    """Counts of what came of the cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    of_modifications: dict[str, Counter[str]] = field(default_factory=lambda: {n: Counter() for n in MODIFICATIONS})
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    columns: Sequence[str] = OUTCOMES
    """What the outcomes are called."""

    def add(self, result: Result) -> None:
        """Of a failing case, only what is to blame is counted."""
        failed = result.outcome in FAILED
        self.outcomes[result.outcome] += 1
        for name in set(result.to_blame if failed else result.modifications):
            self.of_modifications[name][result.outcome] += 1
        if failed:
            self.failures.append(result)
        if result.outcome == "refused":
            self.refusals[general(result.text)] += 1

    @property
    def passed(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        lines = [f"\n{'':46}" + "".join(f"{outcome:>19}" for outcome in self.columns)]
        for name, counts in (("all", self.outcomes), *self.of_modifications.items()):
            lines.append(f"{name:46}" + "".join(f"{counts[outcome]:>19}" for outcome in OUTCOMES))
        lines += ["", "errors that refused cases:", *(f"{n:7}  {text}" for text, n in self.refusals.most_common(40))]
        groups = Counter((result.outcome, *sorted(set(result.to_blame))) for result in self.failures)
        if groups:
            lines += ["", "failures, by the smallest sets of modifications:"]
            for (outcome, *names), count in groups.most_common(60):
                alike = [r for r in self.failures if r.outcome == outcome and sorted(set(r.to_blame)) == names]
                numbers = [str(result.number) for result in alike[:5]]
                lines.append(f"{count:7}  {outcome}: {', '.join(names) or 'none'}  (--only {' '.join(numbers)})")
        return "\n".join([*lines, "", "passed" if self.passed else "FAILED"])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "outcomes": dict(self.outcomes),
            "modifications": {name: dict(counts) for name, counts in self.of_modifications.items()},
            "refusals": dict(self.refusals),
            "failures": [vars(result) for result in self.failures],
            "passed": self.passed,
        }


def general(text: str) -> str:
    """An error's text without what is different in every case."""
    text = " ".join(text.split())
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", re.sub(r"blocks\.\d+|stages\.[\w.]+", "BLOCK", text))[:150]


def told(result: Result) -> str:
    """A failing case."""
    done = "; ".join(result.smallest) or "nothing"
    return (
        f"{result.outcome.upper()} in case {result.number} ({SETTINGS[result.setting]})\n  network: {result.network}\n"
        f"  done to it: {done}\n  {result.text.strip()}\n"
    )


def prepare_process() -> None:
    """One thread each: the networks are tiny."""
    torch.set_num_threads(1)


def results(numbers: Sequence[int], *, jobs: int, seconds: float, self_check: bool) -> Iterator[Result]:
    """Of the cases, in the order in which they end, until the time is over."""
    work = check_itself if self_check else examine
    end = time.monotonic() + seconds
    if jobs == 1:
        prepare_process()
        for number in numbers:
            if time.monotonic() > end:
                return
            yield work(number)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=prepare_process) as pool:
        for start in range(0, len(numbers), 32 * jobs):
            if time.monotonic() > end:
                return
            for done in as_completed([pool.submit(work, number) for number in numbers[start : start + 32 * jobs]]):
                yield done.result()


def with_progress(found: Iterable[Result], *, total: int, every: float = 5.0) -> Iterator[Result]:
    """The same results; how many there are so far, how fast they come and how long it will take, on stderr."""
    start = last = time.monotonic()
    failed = 0
    for count, result in enumerate(found, 1):
        failed += result.outcome in FAILED
        yield result
        now = time.monotonic()
        if now - last >= every:
            last, rate = now, count / (now - start)
            minutes = (total - count) / rate / 60
            print(f"{count}/{total}, {rate:.1f} a second, {minutes:.1f} min left, {failed} failed", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="run the cases of these numbers")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--self-check", action="store_true", help="compare plain autograd with itself")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    options = parser.parse_args()
    numbers = options.only or range(options.first, options.first + options.networks)
    jobs = min(options.jobs, len(numbers))
    columns = ["without effect" if options.self_check and name == "stored" else name for name in OUTCOMES]
    summary = Summary(columns=columns)
    found = results(numbers, jobs=jobs, seconds=options.seconds, self_check=options.self_check)
    for result in found if options.json else with_progress(found, total=len(numbers)):
        summary.add(result)
        if result.outcome in FAILED and len(summary.failures) <= PRINTED and not options.json:
            print(told(result), flush=True)
    print(json.dumps(summary.as_json()) if options.json else summary)
    sys.exit(not summary.passed)


if __name__ == "__main__":
    main()
