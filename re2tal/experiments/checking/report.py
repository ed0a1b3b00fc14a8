"""The outcome of a check as a value, as files and as a table."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from re2tal.common.atomic import atomic_text
from re2tal.common.terminal import print_table
from re2tal.data.check import Decode, Finding

__all__ = ["DataReport", "SubsetCounts", "print_report"]

_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class SubsetCounts:
    """How many videos of the training or the test subset are what."""

    annotated: int
    with_actions: int
    actions: int
    listed_missing: int
    """In data.missing."""
    labelled_minutes: float
    """Of the annotated videos."""
    empty_minutes: float
    """Of what is labelled: without an annotation, and so known to show no action."""
    unlabelled_minutes: float
    """At which nobody has looked."""
    blocked: int
    """Left out of the metric."""
    to_check: int
    """The rest: a run needs their files."""
    unusable: int
    """Those of them whose file is absent or cannot be used."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All that was found."""

    decode: Decode
    num_classes: int | None
    """None if the annotations do not tell."""
    subsets: dict[Literal["training", "testing"], SubsetCounts]
    findings: tuple[Finding, ...]
    """Errors first; of one kind together."""
    unusable: tuple[str, ...]
    """Ids for data.missing: what it lists already, and every video whose file is absent or cannot be used."""

    @property
    def stops_a_run(self) -> bool:
        """Whether training or testing would end in an error."""
        return any(finding.severity == "error" for finding in self.findings)

    def kinds(self) -> list[list[Finding]]:
        """The findings in groups of one kind and subset."""
        return [list(group) for _, group in groupby(self.findings, key=order_of_kind)]

    def count(self, severity: str) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Counts, and one example of each kind of finding."""
        return {
            "stops_a_run": self.stops_a_run,
            "decode": self.decode,
            "num_classes": self.num_classes,
            "subsets": {role: asdict(counts) for role, counts in self.subsets.items()},
            **{f"num_{severity}s": self.count(severity) for severity in _SEVERITIES},
            "findings": [
                {
                    "severity": group[0].severity,
                    "what": group[0].what,
                    "subset": group[0].subset,
                    "count": len(group),
                    "example": {"video": group[0].video_id, "detail": group[0].detail},
                }
                for group in self.kinds()
            ],
            "num_unusable": len(self.unusable),
        }

    def write_findings(self, path: Path) -> None:
        """One line of JSON for each finding."""
        names = ("severity", "what", "subset", "video", "detail")
        rows = ((item.severity, item.what, item.subset, item.video_id, item.detail) for item in self.findings)
        _write_lines(path, (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows))

    def write_missing(self, path: Path) -> None:
        """The unusable videos, one id per line, as data.missing takes them."""
        _write_lines(path, self.unusable)


def order_of_kind(finding: Finding) -> tuple[int, str, str]:
    """Sorts errors to the front and keeps a kind together."""
    return _SEVERITIES.index(finding.severity), finding.what, finding.subset or ""


def print_report(report: DataReport) -> None:
    """The counts of each subset, then one line for each kind of finding with an example."""
    classes = "an unknown number of" if report.num_classes is None else report.num_classes
    print_table(_subset_rows(report), title=f"Videos, {classes} classes, frames decoded: {report.decode}")
    print()
    if report.findings:
        print_table(_finding_rows(report), title="Findings", numbers=False)
        print()
    counts = ", ".join(f"{severity}s: {report.count(severity)}" for severity in _SEVERITIES)
    print(f"{counts}; {'a run would stop' if report.stops_a_run else 'nothing that stops a run'}")


def _subset_rows(report: DataReport) -> list[list[str]]:
    names = SubsetCounts.__dataclass_fields__
    rows = [[name.replace("_", " "), *(str(getattr(item, name)) for item in report.subsets.values())] for name in names]
    return [["", *report.subsets], *rows]


def _finding_rows(report: DataReport) -> list[list[str]]:
    rows = [["count", "severity", "subset", "what", "for example"]]
    for group in report.kinds():
        first = group[0]
        example = first.detail if first.video_id is None else f"{first.video_id}: {first.detail}"
        rows.append([str(len(group)), first.severity, first.subset or "", first.what, example])
    return rows


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_text(path) as file:
        file.writelines(f"{line}\n" for line in lines)
