"""Labels as files, exported in one call."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from re2tal.labels.exporting import ExportOptions, ExportReport, export_labels

Segments = Mapping[str, Sequence[tuple[float, float, str]]]


def write_annotations(path: Path, segments: Segments, **about: Any) -> Path:
    """ActivityNet's layout; `about` goes into every annotation."""
    database = {
        video: {
            "subset": "training",
            "annotations": [{"segment": [start, end], "label": label, **about} for start, end, label in listed],
        }
        for video, listed in segments.items()
    }
    path.write_text(json.dumps({"database": database}))
    return path


def write_detections(path: Path, rows: Mapping[str, Sequence[tuple[float, float, str, float]]]) -> Path:
    """As `re2tal predict` writes them."""
    results = {
        video: [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in listed]
        for video, listed in rows.items()
    }
    path.write_text(json.dumps({"version": "ActivityNet-1.3", "results": results, "external_data": {}}))
    return path


def export(source: Path, format_: str, out: Path, **options: Any) -> ExportReport:
    """Without a word."""
    return export_labels(source, format_=format_, out=out, options=ExportOptions(**options), tell=lambda *_: None)
