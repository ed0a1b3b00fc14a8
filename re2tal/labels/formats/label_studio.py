"""Label Studio's exports of video and sound, JSON and JSON-MIN.

Layouts (labelstud.io/guide/export, /tags/timelinelabels, /tags/audio):

* JSON: a list of tasks, {"data": {name: address}, "annotations": [{"completed_by", "was_cancelled", "updated_at",
  "result": [{"type", "from_name", "value"}]}]}. JSON-MIN: a list of annotations, {name: address, control: [value],
  "annotator", "annotation_id", "updated_at"}.
* A value of the timeline is {"ranges": [{"start", "end"}], "timelinelabels": [label]} in frames that count from 1, the
  last one inside; a region of sound or video {"start", "end", "labels": [label]} in seconds. The rate that frames count
  at stands in the labelling interface (`frameRate`, 24 unless it is set), or in the task's data as `fps`.
* What was uploaded is called `<8 hexadecimal digits>-<name>`; files of local storage `/data/local-files/?d=<path>`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from re2tal.common.untrusted import shown
from re2tal.common.video_files import SOUND_SUFFIXES, VIDEO_SUFFIXES
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions
from re2tal.labels.times import Time, number_of

__all__ = ["is_label_studio", "read_label_studio"]

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_OF_MIN = {"annotator", "annotation_id"}


def is_label_studio(content: Any) -> bool:
    """Whether a JSON value is an export of Label Studio."""
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    if all(isinstance(task.get("data"), dict) for task in content):
        return any(task.keys() & {"annotations", "predictions"} for task in content)
    return all(task.keys() >= _OF_MIN for task in content)


def read_label_studio(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are those of regions; fields are label, control (its name in the interface), annotator and edited."""
    reading = Reading(path=file.path, format="label-studio")
    in_frames = unconfirmed = 0
    for number, task in enumerate(file.json):
        where = f"{file.path}, task {shown(task.get('id', number))}"
        data = task["data"] if isinstance(task.get("data"), dict) else task
        media = _media(data, uploaded=task.get("file_upload"))
        if not media:
            reading.drop("incomplete entry", where, "names no video")
            continue
        unconfirmed += bool(task.get("predictions")) and not task.get("annotations")
        rate = number_of(data.get("fps")) or None
        for annotator, edited, control, value in _values(task, media=media, where=where, reading=reading):
            fields = {"control": control, "annotator": annotator, "edited": edited}
            of_frames = _add(value, fields=fields, rate=rate, media=media, where=where, reading=reading)
            in_frames += of_frames and rate is None
    if unconfirmed:
        reading.notes.append(
            f"{file.path} has {unconfirmed} tasks of predictions alone, which are no labels until they are submitted "
            "there"
        )
    if in_frames:
        reading.notes.append(
            f"{file.path} counts frames of the timeline at the rate of Label Studio's interface (frameRate, 24 unless "
            "it is set); taken at the rate of each video, or at --fps"
        )
    return reading


def _media(data: Mapping[str, Any], *, uploaded: Any) -> tuple[Media, ...]:
    """Files of video first, then of sound, then any other text that the task has."""
    texts = [_file_of(text) for text in (*data.values(), uploaded) if isinstance(text, str) and text.strip()]

    def kind(name: str) -> int:
        lower = name.lower()
        return 0 if lower.endswith(VIDEO_SUFFIXES) else 1 if lower.endswith(SOUND_SUFFIXES) else 2

    names = [name for name in sorted(dict.fromkeys(texts), key=kind) if kind(name) < 2] or texts[:1]
    plain = [_UPLOADED.sub("", name.replace("\\", "/").rsplit("/", 1)[-1]) for name in names]
    return tuple(Media(name=name) for name in dict.fromkeys((*names, *plain)) if name)


def _file_of(address: str) -> str:
    try:
        parts = urlsplit(address)
        local = parse_qs(parts.query).get("d") or parse_qs(parts.query).get("fileuri")
    except ValueError:
        return address
    if local:
        return local[0]
    return address.split("?", 1)[0] if "://" in address else address


def _values(
    task: Mapping[str, Any], *, media: tuple[Media, ...], where: str, reading: Reading
) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Annotator, time of the last change, control and value of every region; notes that the video is covered."""
    if "data" not in task or not isinstance(task["data"], dict):
        reading.covered.append(Coverage(media=media))
        about = _text(task.get("annotator")), _text(task.get("updated_at"))
        for control, values in task.items():
            for value in values if isinstance(values, list) else ():
                if isinstance(value, dict):
                    yield *about, control, value
        return
    annotations = task.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list):
            reading.drop("incomplete entry", where, f"an annotation has no list of results: {shown(annotation)}")
            continue
        if annotation.get("was_cancelled"):
            continue
        reading.covered.append(Coverage(media=media))
        by = annotation.get("completed_by")
        by = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
        for item in results:
            value = item.get("value") if isinstance(item, dict) else None
            if isinstance(value, dict):
                yield _text(by), _text(annotation.get("updated_at")), _text(item.get("from_name")), value
            else:
                reading.drop("incomplete entry", where, f"a result has no value: {shown(item)}")


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _add(
    value: Mapping[str, Any],
    *,
    fields: Mapping[str, str],
    rate: float | None,
    media: tuple[Media, ...],
    where: str,
    reading: Reading,
) -> bool:
    """Add the segments of a region; whether they are told in frames."""
    labels = [
        label
        for name, listed in value.items()
        if name.endswith("labels") and isinstance(listed, list)
        for label in listed
        if isinstance(label, str)
    ]
    ranges = value.get("ranges")
    in_frames = isinstance(ranges, list)
    spans = ranges if isinstance(ranges, list) else [value]
    for span in spans:
        start, end = (number_of(span.get(name)) if isinstance(span, dict) else None for name in ("start", "end"))
        if start is None or end is None:
            what = "a region of pictures" if "sequence" in value or "width" in value else f"no segment: {shown(value)}"
            reading.drop("incomplete entry", where, f"is {what}, without a start and an end in time")
            continue
        times = Time(seconds=start), Time(seconds=end)
        if in_frames:  # the first frame is number 1, and the last one is inside
            times = Time(frames=start - 1), Time(frames=end)
            if rate is not None and rate > 0:
                times = Time(seconds=(start - 1) / rate), Time(seconds=end / rate)
        for label in labels or [""]:
            reading.add(where, media, times, {"label": label, **fields})
    return in_frames
