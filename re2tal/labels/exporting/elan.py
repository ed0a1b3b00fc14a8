"""ELAN's annotation files (.eaf), one for each video.

Layout: the EAF schema, version 3.0 (`re2tal.labels.formats.elan` reads it). A tier for each class, annotator and
layer, since annotations of one tier do not overlap; its scores in a tier that depends on it, one to one
(Symbolic_Association). The slots are in order of time, as ELAN wants them.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from re2tal.common.untrusted import shown
from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, distinct, lanes_of, lasting
from re2tal.labels.formats.elan import SCORE_TYPE

__all__ = ["ElanFile"]

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_LABEL_TYPE = "default-lt"
_CONSTRAINT = "Symbolic_Association"
# Others are "video/*", as ELAN writes them.
_MIME_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg", ".mpeg": "video/mpeg"}

_Layer = tuple[str, str | None, int]
"""Class, annotator and number among overlapping ones."""


class ElanFile:
    """One video in one file."""

    def file_of(self, video: ExportVideo) -> str:
        """Each its own."""
        return f"{video.video_id}.eaf"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The document."""
        (video,) = content.videos
        layers = _layers(lasting(video.items, content.notes), content)
        root = Element(
            "ANNOTATION_DOCUMENT",
            {
                "AUTHOR": "re2tal",
                "DATE": content.changed.isoformat(timespec="seconds"),
                "FORMAT": "3.0",
                "VERSION": "3.0",
                "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "xsi:noNamespaceSchemaLocation": _SCHEMA,
            },
        )
        header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
        SubElement(header, "MEDIA_DESCRIPTOR", _media(video, path))
        slots = _add_slots(root, layers)
        has_scores = any(item.score is not None for items in layers.values() for item in items)
        _add_tiers(root, layers, slots=slots, has_scores=has_scores)
        SubElement(
            root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID=_LABEL_TYPE, TIME_ALIGNABLE="true", GRAPHIC_REFERENCES="false"
        )
        if has_scores:
            attributes = {"LINGUISTIC_TYPE_ID": SCORE_TYPE, "CONSTRAINTS": _CONSTRAINT}
            SubElement(root, "LINGUISTIC_TYPE", attributes, TIME_ALIGNABLE="false", GRAPHIC_REFERENCES="false")
            SubElement(
                root, "CONSTRAINT", STEREOTYPE=_CONSTRAINT, DESCRIPTION="1-1 association with a parent annotation"
            )
        ElementTree.indent(root)
        return {path: '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"}


def _media(video: ExportVideo, path: Path) -> dict[str, str]:
    if video.path is None:
        return {"MEDIA_URL": quote(video.file_name), "MIME_TYPE": "video/*"}
    beside = quote(video.beside(path))
    return {
        "MEDIA_URL": video.path.as_uri(),
        "RELATIVE_MEDIA_URL": beside if beside.startswith("../") else f"./{beside}",
        "MIME_TYPE": _MIME_TYPES.get(video.path.suffix.lower(), "video/*"),
    }


def _layers(items: list[ExportItem], content: ExportContent) -> dict[_Layer, list[ExportItem]]:
    """Classes without items have a layer too, so that there is one to write into."""
    grouped: dict[tuple[str, str | None], list[ExportItem]] = defaultdict(list)
    for item in items:
        grouped[item.label, item.annotator].append(item)
    layers: dict[_Layer, list[ExportItem]] = {}
    for label in content.class_names:
        annotators = sorted({name for known, name in grouped if known == label}, key=lambda name: name or "") or [None]
        for annotator in annotators:
            lanes = lanes_of(grouped[label, annotator]) or [[]]
            content.notes.add(
                "actions that overlap another of their class stand in a further tier",
                shown(label),
                count=sum(map(len, lanes[1:])),
            )
            layers |= {(label, annotator, number): lane for number, lane in enumerate(lanes, start=1)}
    return layers


def _add_slots(root: Element, layers: Mapping[_Layer, list[ExportItem]]) -> dict[tuple[_Layer, int, int], str]:
    """Names of the slots, by layer, place in it and end (0 or 1)."""
    order = SubElement(root, "TIME_ORDER")
    ends = sorted(
        (milliseconds, place, end, layer[0], layer[1] or "", layer)
        for layer, items in layers.items()
        for place, item in enumerate(items)
        for end, milliseconds in enumerate((item.start_ms, item.end_ms))
    )
    names = {}
    for number, (milliseconds, place, end, _, _, layer) in enumerate(ends, start=1):
        names[layer, place, end] = f"ts{number}"
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(milliseconds))
    return names


def _add_tiers(
    root: Element,
    layers: Mapping[_Layer, list[ExportItem]],
    *,
    slots: Mapping[tuple[_Layer, int, int], str],
    has_scores: bool,
) -> None:
    numbers = count(1)
    names = _tier_names(layers, has_scores=has_scores)
    for layer, items in layers.items():
        label, annotator, _ = layer
        who = {} if annotator is None else {"ANNOTATOR": annotator}
        tier = SubElement(root, "TIER", {"TIER_ID": names[layer, False], "LINGUISTIC_TYPE_REF": _LABEL_TYPE, **who})
        ids = [f"a{next(numbers)}" for _ in items]
        for place, (name, _) in enumerate(zip(ids, items, strict=True)):
            ends = {f"TIME_SLOT_REF{end + 1}": slots[layer, place, end] for end in (0, 1)}
            _add_annotation(tier, "ALIGNABLE_ANNOTATION", label, ANNOTATION_ID=name, **ends)
        if not has_scores:
            continue
        attributes = {"PARENT_REF": names[layer, False], "LINGUISTIC_TYPE_REF": SCORE_TYPE}
        scores = SubElement(root, "TIER", {"TIER_ID": names[layer, True], **attributes, **who})
        for name, item in zip(ids, items, strict=True):
            if item.score is not None:
                _add_annotation(
                    scores,
                    "REF_ANNOTATION",
                    f"{item.score:.4f}",
                    ANNOTATION_ID=f"a{next(numbers)}",
                    ANNOTATION_REF=name,
                )


def _tier_names(layers: Mapping[_Layer, object], *, has_scores: bool) -> dict[tuple[_Layer, bool], str]:
    """By layer, of the labels (False) and of the scores (True); all different, whatever the classes are called."""
    several = len({annotator for _, annotator, _ in layers if annotator is not None}) > 1

    def name_of(layer: _Layer) -> str:
        label, annotator, number = layer
        who = f" ({annotator})" if several and annotator is not None else ""
        return f"{label}{who}{f' {number}' if number > 1 else ''}"

    names = {(layer, False): name for layer, name in distinct(layers, name_of).items()}
    if has_scores:
        names |= {(layer, True): f"{names[layer, False]} score" for layer in layers}
    return distinct(names, lambda key: names[key])


def _add_annotation(tier: Element, kind: str, value: str, **attributes: str) -> None:
    annotation = SubElement(SubElement(tier, "ANNOTATION"), kind, attributes)
    SubElement(annotation, "ANNOTATION_VALUE").text = value
