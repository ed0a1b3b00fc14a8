"""What an import kept, left out and changed: as a value, as JSON and as a table."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from re2tal.common.atomic import atomic_text
from re2tal.common.labelled import LabelledTime
from re2tal.common.terminal import print_table
from re2tal.common.untrusted import brief, shown, some, visible
from re2tal.labels.records import Problem, Reading, Reason

__all__ = ["ClassCounts", "ImportReport", "print_report"]

CHANGED: frozenset[Reason] = frozenset({"clipped to the video", "widened point event"})
"""What these name is kept all the same."""
_EXAMPLES = 3
_MOST_CLASSES = 300
"""That a table names."""
_MOST_NOTES = 12
_FEW_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Annotations of one class."""

    by_subset: Mapping[str, int]
    median_seconds: float


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The outcome of an import."""

    formats: Mapping[str, int]
    """Files or folders by format."""
    num_files: int
    """Videos in the folder."""
    num_videos: int
    """Of these, in the annotations."""
    num_read: int
    """Annotations in the files."""
    num_segments: int
    """Annotations kept."""
    videos: Mapping[str, int]
    """By subset."""
    segments: Mapping[str, int]
    """By subset."""
    time: LabelledTime
    """Of all videos."""
    classes: Mapping[str, ClassCounts]
    problems: tuple[Problem, ...]
    """All that was left out or changed."""
    notes: tuple[str, ...]
    hints: tuple[str, ...]
    """What the user should look at."""

    @staticmethod
    def of(
        readings: Sequence[Reading],
        *,
        database: Mapping[str, Any],
        problems: Sequence[Problem],
        num_files: int,
        num_records: int,
        notes: Iterable[str],
        hints: Iterable[str],
    ) -> "ImportReport":
        """Count what is in `database`, ActivityNet's layout."""
        rows = [(entry["subset"], row) for entry in database.values() for row in entry["annotations"]]
        lengths: dict[str, list[float]] = defaultdict(list)
        subsets: dict[str, Counter[str]] = defaultdict(Counter)
        for subset, row in rows:
            lengths[row["label"]].append(row["segment"][1] - row["segment"][0])
            subsets[row["label"]][subset] += 1
        classes = {
            label: ClassCounts(by_subset=dict(subsets[label]), median_seconds=round(statistics.median(values), 3))
            for label, values in sorted(lengths.items())
        }
        return ImportReport(
            formats=dict(Counter(reading.format for reading in readings if reading.format)),
            num_files=num_files,
            num_videos=len(database),
            num_read=num_records,
            num_segments=len(rows),
            videos=dict(sorted(Counter(entry["subset"] for entry in database.values()).items())),
            segments=dict(sorted(Counter(subset for subset, _ in rows).items())),
            time=sum((_time(entry) for entry in database.values()), LabelledTime()),
            classes=classes,
            problems=tuple(problems),
            notes=(*_joined(readings), *notes),
            hints=(*hints, *_class_hints(classes), *_subset_hints(database)),
        )

    def grouped(self) -> list[tuple[Reason, list[Problem]]]:
        """Problems by reason, what was left out first, the most frequent first."""
        by_reason: dict[Reason, list[Problem]] = defaultdict(list)
        for problem in self.problems:
            by_reason[problem.reason].append(problem)
        order = list(get_args(Reason))
        return sorted(by_reason.items(), key=lambda item: (item[0] in CHANGED, -len(item[1]), order.index(item[0])))

    @property
    def num_dropped(self) -> int:
        """Annotations that were left out."""
        return self.num_read - self.num_segments

    def as_json(self) -> dict[str, Any]:
        """Counts, and some examples of each reason."""
        return {
            "formats": dict(self.formats),
            "num_files": self.num_files,
            "num_videos": self.num_videos,
            "num_read": self.num_read,
            "num_segments": self.num_segments,
            "num_dropped": self.num_dropped,
            "videos": dict(self.videos),
            "segments": dict(self.segments),
            "minutes": self.time.as_json(),
            "classes": {label: asdict(counts) for label, counts in self.classes.items()},
            "problems": [
                {
                    "reason": reason,
                    "kept": reason in CHANGED,
                    "count": len(problems),
                    "examples": [{"where": item.where, "detail": item.detail} for item in problems[:_EXAMPLES]],
                }
                for reason, problems in self.grouped()
            ],
            "notes": list(self.notes),
            "hints": list(self.hints),
        }

    def write_problems(self, path: Path) -> None:
        """One line of JSON for each thing that was left out or changed."""
        with atomic_text(path) as file:
            for item in self.problems:
                line = {"reason": item.reason, "where": item.where, "detail": item.detail}
                file.write(f"{json.dumps({**line, 'kept': item.reason in CHANGED}, ensure_ascii=False)}\n")


def _joined(readings: Sequence[Reading]) -> Iterable[str]:
    """The notes on the files; what is to be said of many is said of the first, with their number."""
    alike: dict[str, list[str]] = defaultdict(list)
    for reading in readings:
        for note in reading.notes:
            alike[note.replace(str(reading.path), "")].append(note)
    for number, notes in enumerate(alike.values()):
        if number == _MOST_NOTES:
            yield f"and {len(alike) - _MOST_NOTES} notes on other files"
            return
        yield notes[0] if len(notes) == 1 else f"{notes[0]} (and so of {len(notes) - 1} other files)"


def _class_hints(classes: Mapping[str, ClassCounts]) -> Iterable[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in classes:
        alike[label.casefold()].append(label)
    for labels in [labels for labels in alike.values() if len(labels) > 1][:_MOST_NOTES]:
        yield f"these labels differ in capitals only, and count as classes of their own: {some(labels)}"
    single = [label for label, counts in classes.items() if sum(counts.by_subset.values()) == 1]
    if len(single) > max(len(classes) / 2, _FEW_CLASSES):
        yield (
            f"{len(single)} of {len(classes)} classes have one annotation each, such as {shown(single[0])}; if these "
            "are remarks and no classes, --label takes other fields, and --only leaves annotations out"
        )
    untrained = [label for label, counts in classes.items() if not counts.by_subset.get("training")]
    if untrained:
        yield f"no training video shows {some(map(repr, untrained))}"
    untested = [
        label for label, counts in classes.items() if set(counts.by_subset) == {"training"}
    ]  # fmt: skip
    if untested and len(untested) < len(classes):
        yield f"only training videos show {some(map(repr, untested))}, so their mAP will not be known"


def _subset_hints(database: Mapping[str, Any]) -> Iterable[str]:
    subsets = {entry["subset"] for entry in database.values()}
    if database and "training" not in subsets:
        yield f"no video is in the subset 'training'; there are {some(map(repr, sorted(subsets)))}"
    if subsets == {"training"} and any(entry["annotations"] for entry in database.values()):
        yield "all videos are for training and none is left to validate on; " + (
            "annotate another video" if len(database) == 1 else "split them anew with --resplit, and another --group"
        )
    shown = {entry["subset"] for entry in database.values() if entry["annotations"]}
    if shown == {"training"} != subsets:
        several = sum(bool(entry["annotations"]) for entry in database.values()) > 1
        yield "no video outside of training shows an action, so that nothing can be evaluated; label another video" + (
            ", or split anew with --resplit" if several else ""
        )


def _time(entry: Mapping[str, Any]) -> LabelledTime:
    labelled = None if "labelled" not in entry else tuple((start, end) for start, end in entry["labelled"])
    segments = [row["segment"] for row in entry["annotations"]]
    return LabelledTime.of(duration=entry["duration"], labelled=labelled, annotated=segments)


def print_report(report: ImportReport) -> None:
    """Counts, what was left out with an example of each reason, and the classes."""
    formats = ", ".join(f"{name} ({count})" for name, count in report.formats.items())
    print(f"Read {formats}: {report.num_read} annotations, {report.num_segments} kept")
    print(f"Videos: {report.num_videos} of the {report.num_files} in the folder are annotated")
    print(f"Time: {report.time.in_words()}\n")
    if report.problems:
        rows = [["count", "", "reason", "for example"]]
        rows += [
            [
                str(len(items)),
                "kept" if reason in CHANGED else "left out",
                reason,
                f"{items[0].where}: {items[0].detail}",
            ]
            for reason, items in report.grouped()
        ]
        print_table(rows, title="Left out or changed", numbers=False)
        print()
    subsets = list(report.videos)
    totals = [
        [name, *(str(counts.get(subset, 0)) for subset in subsets), ""]
        for name, counts in (("videos", report.videos), ("annotations", report.segments))
    ]
    rows = [
        [label, *(str(counts.by_subset.get(subset, 0)) for subset in subsets), f"{counts.median_seconds:.2f}"]
        for label, counts in islice(report.classes.items(), _MOST_CLASSES)
    ]
    if len(report.classes) > len(rows):
        rows.append([f"and {len(report.classes) - len(rows)} more, see --json", *("" for _ in subsets), ""])
    print_table([["", *subsets, "median seconds"], *totals, *rows], title="Kept")
    print()
    for note in report.notes:
        print(f"note: {brief(visible(note), length=1000)}")
    for hint in report.hints:
        print(f"look at this: {brief(visible(hint), length=1000)}")
