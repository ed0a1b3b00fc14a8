"""Import in one call, and what came of it."""

from pathlib import Path
from typing import Any

from re2tal.labels import (
    Format,
    ImportedLabels,
    ImportOptions,
    Reading,
    ReadOptions,
    import_annotations,
    read_sources,
)


def read(path: Path, *, format_: Format | None = None, **options: Any) -> Reading:
    """The only file of a source."""
    (reading,) = read_sources([path], format_=format_, options=ReadOptions(**options))
    return reading


def read_all(path: Path, **options: Any) -> list[Reading]:
    """Every part of a source, such as the sheets of a workbook."""
    return read_sources([path], format_=None, options=ReadOptions(**options))


def bring_in(path: Path, *, videos: Path, reading: dict[str, Any] | None = None, **options: Any) -> ImportedLabels:
    """From a source to annotations."""
    label = tuple(options.get("label", ()))
    readings = read_sources([path], format_=None, options=ReadOptions(**{"label": label, **(reading or {})}))
    return import_annotations(readings, videos=videos, options=ImportOptions(**options), tell=lambda *_: None)


def segments_of(imported: ImportedLabels) -> dict[str, list[tuple[float, float, str]]]:
    """Sorted, by video."""
    return {
        video: sorted((*row["segment"], row["label"]) for row in entry["annotations"])
        for video, entry in imported.database.items()
    }


def reasons(imported: ImportedLabels) -> dict[str, int]:
    """How many were left out or changed, by reason."""
    return {reason: len(problems) for reason, problems in imported.report.grouped()}
