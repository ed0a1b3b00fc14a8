"""CalMS21, mice in pairs: the JSON that its converter writes.

Layout (data.caltech.edu/records/s0vdx-0k302, its README): {group: {sequence: {"keypoints", "scores", "annotations":
[class of every frame], "metadata": {"vocab": {name: class}}}}}. Groups are annotators ("annotator-id_0") or, of the
third task, behaviours; sequences are called "task1/train/mouse001_task1_annotator1", after their videos of 30 frames a
second. The class `other` is the background.
"""

from collections.abc import Mapping
from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.runs import Runs
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions
from re2tal.labels.subsets import subset_in_name
from re2tal.labels.times import Time

__all__ = ["is_calms21", "read_calms21"]

_FRAMES_PER_SECOND = 30.0
_BACKGROUND = "other"


def is_calms21(content: Any) -> bool:
    """Whether a JSON value is of CalMS21."""
    return isinstance(content, dict) and bool(content) and all(map(_is_group, content.values()))


def _is_group(group: Any) -> bool:
    return (
        isinstance(group, dict)
        and bool(group)
        and all(isinstance(entry, dict) and entry.keys() >= {"keypoints", "metadata"} for entry in group.values())
    )


def read_calms21(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the classes but for `other`; fields are label and annotator."""
    reading = Reading(path=file.path, format="calms21")
    for group, sequences in file.json.items():
        for name, entry in sequences.items():
            where = f"{file.path}, {name}"
            classes = entry.get("annotations")
            if not isinstance(classes, list):
                reading.drop("incomplete entry", where, "has no annotations, as sequences to be tested on")
                continue
            names = {**_names(entry["metadata"]), **options.class_names}
            annotator = group if group.startswith("annotator") else ""
            _add(name, classes, names=names, annotator=annotator, where=where, reading=reading)
    return reading


def _names(metadata: Any) -> dict[int, str]:
    vocabulary = metadata.get("vocab") if isinstance(metadata, dict) else None
    if isinstance(vocabulary, dict):
        return {number: name for name, number in vocabulary.items() if isinstance(number, int)}
    return dict(enumerate(map(str, vocabulary))) if isinstance(vocabulary, list) else {}


def _add(
    sequence: str, classes: list[Any], *, names: Mapping[int, str], annotator: str, where: str, reading: Reading
) -> None:
    runs = Runs()
    for frame, number in enumerate(classes):
        if isinstance(number, bool) or not isinstance(number, int):
            reading.drop("incomplete entry", where, f"frame {frame} has no number of a class, got {shown(number)}")
            continue
        label = names.get(number, f"class {number}")
        if label.lower() != _BACKGROUND:
            seconds = frame / _FRAMES_PER_SECOND, (frame + 1) / _FRAMES_PER_SECOND
            runs.add((label,), start=seconds[0], end=seconds[1], where=frame)
    folders, _, video = sequence.rpartition("/")
    subset = subset_in_name(folders)
    media = (Media(name=video or sequence),)
    stretch = Time(), Time(seconds=len(classes) / _FRAMES_PER_SECOND)
    reading.covered.append(Coverage(media=media, stretches=(stretch,), subset=subset))
    runs.add_to(
        reading,
        media,
        unit="seconds",
        place=f"{sequence}, frame",
        fields=lambda label: {"label": label, "annotator": annotator},
        subset=subset,
    )
