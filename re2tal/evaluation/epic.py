"""Average precision of verbs, nouns and actions (a verb with its noun), as in EPIC-KITCHENS-100's challenge.

Layouts:

* ground truth: EPIC_100_validation.csv (github.com/epic-kitchens/epic-kitchens-100-annotations), with the columns
  `video_id`, `start_timestamp` and `stop_timestamp` as hh:mm:ss.ss, `verb_class` and `noun_class`; or JSON of
  ActivityNet's layout whose annotations have "verb_label" and "noun_label", as "id_003", or the two classes as numbers.
* predictions: the challenge's submissions, {"results": {id: [{"segment", "score", "verb": 3, "noun": 12, "action":
  "3,12"}]}}.

Source: Damen et al., "Rescaling Egocentric Vision", IJCV 2022; github.com/epic-kitchens/C2-Action-Detection, whose
figures are those at tIoU 0.1 to 0.5 with every annotation counted.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from re2tal.common.annotation_files import AnnotationFile, read_annotation_file
from re2tal.common.untrusted import shown
from re2tal.evaluation.average_precision import MapResult, mean_average_precision
from re2tal.evaluation.files import predictions_of, read_ground_truth, read_json_file
from re2tal.evaluation.tables import EvaluationError

__all__ = ["EPIC_TASKS", "EpicTask", "epic_precision"]

EpicTask = Literal["verb", "noun", "action"]
EPIC_TASKS: tuple[EpicTask, ...] = get_args(EpicTask)

_CLASS = re.compile(r"(?:id_)?(\d{1,4})")
_ACTION = re.compile(r"(\d{1,4})\s*,\s*(\d{1,4})")
_TIMESTAMP = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_KEYS = {"verb": ("verb", "verb_class", "verb_label"), "noun": ("noun", "noun_class", "noun_label")}


def epic_precision(
    ground_truth: Path | str,
    predictions: Path | str,
    *,
    subset: str | Sequence[str] = "validation",
    tious: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
    as_annotated: bool = False,
    count_other_videos: bool = False,
    recall_multiples: Sequence[int] = (),
) -> dict[EpicTask, MapResult]:
    """Mean average precision for each of the three tasks; predictions of all three share their scores.

    Args:
        ground_truth: see above.
        predictions: see above.
        subset: Name of the evaluated subset, or several, of a JSON file; a CSV file is one subset.
        tious: Temporal IoU thresholds.
        as_annotated: Count empty and repeated annotations too, as the challenge's code does.
        count_other_videos: Count predictions for videos outside the subset as false ones.
        recall_multiples: Values of k for recall@kx.
    """
    path = Path(ground_truth)
    if path.suffix.lower() == ".csv":
        database = _read_csv(path, subset=subset if isinstance(subset, str) else subset[0])
    else:
        database = read_annotation_file(path, what="ground truth", fix="give the path of an annotation file").database
    results = _results_of(Path(predictions))
    found: dict[EpicTask, MapResult] = {}
    for task in EPIC_TASKS:
        labelled = {name: _with_labels(entry, task=task, where=f"{path}, {name}") for name, entry in database.items()}
        truth = read_ground_truth(
            AnnotationFile(path=path, database=labelled, tells_durations=False),
            subset=subset,
            as_annotated=as_annotated,
        )
        rows = {
            name: [_labelled(row, task=task, where=f"{predictions}, video {name!r}") for row in video]
            for name, video in results.items()
        }
        found[task] = mean_average_precision(
            truth,
            predictions_of(rows, path=Path(predictions)),
            tious=tious,
            count_other_videos=count_other_videos,
            recall_multiples=recall_multiples,
        )
    return found


def _read_csv(path: Path, *, subset: str) -> dict[str, Any]:
    needed = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if lacking := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise EvaluationError(
                    f"{path} has no columns {', '.join(lacking)}; give EPIC_100_validation.csv as it is published"
                )
            rows = list(reader)
    except FileNotFoundError:
        raise EvaluationError(f"no ground truth at {path}; give the path of an annotation file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} is not a readable CSV file: {error}") from None
    database: dict[str, Any] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, row {number}"
        segment = [_seconds(row["start_timestamp"], where=where), _seconds(row["stop_timestamp"], where=where)]
        entry = database.setdefault(row["video_id"], {"subset": subset, "annotations": []})
        entry["annotations"].append({**row, "segment": segment})
    return database


def _seconds(text: str | None, *, where: str) -> float:
    found = _TIMESTAMP.fullmatch((text or "").strip())
    if found is None:
        raise EvaluationError(f"{where}: a time is written hh:mm:ss.ss, got {shown(text)}")
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def _results_of(path: Path) -> dict[str, list[Any]]:
    content = read_json_file(path, what="predictions")
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise EvaluationError(
            f'{path} must hold {{"results": {{id: [{{"segment", "score", "verb", "noun"}}]}}}}, got {shown(content)}'
        )
    return results


def _with_labels(entry: Any, *, task: EpicTask, where: str) -> Any:
    """An entry of the ground truth whose annotations have the task's label; what is odd is left for its reader."""
    rows = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(rows, list):
        return entry
    return {**entry, "annotations": [_labelled(row, task=task, where=where) for row in rows]}


def _labelled(row: Any, *, task: EpicTask, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise EvaluationError(f"{where}: an entry must be an object, got {shown(row)}")
    if task != "action":
        label = _class_of(row, task, where=where)
    elif (told := _ACTION.fullmatch(str(row.get("action")))) is not None:
        label = f"{int(told[1])},{int(told[2])}"
    else:
        label = f"{_class_of(row, 'verb', where=where)},{_class_of(row, 'noun', where=where)}"
    return {**row, "label": label}


def _class_of(row: Mapping[str, Any], task: Literal["verb", "noun"], *, where: str) -> str:
    """The number of a verb or a noun, as text without leading zeros."""
    for key in reversed(_KEYS[task]):  # in EPIC's tables "verb" is a word
        value = row.get(key)
        found = None if isinstance(value, bool | None) else _CLASS.fullmatch(str(value))
        if found is not None:
            return str(int(found[1]))
    raise EvaluationError(
        f"{where}: an entry must have the number of its {task}, as one of {', '.join(_KEYS[task])}, got {shown(row)}"
    )
