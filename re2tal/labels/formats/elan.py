"""ELAN's annotation files (.eaf).

Layout: the EAF schema, version 3.0 (mpi.nl/tools/elan/EAFv3.0.xsd, "EAF Annotation Format"). A header names the media
(MEDIA_DESCRIPTOR: MEDIA_URL, RELATIVE_MEDIA_URL, MIME_TYPE, TIME_ORIGIN in milliseconds); TIME_ORDER lists slots, of
which those between two aligned ones may lack a value; tiers hold annotations between two slots, or annotations that
refer to one of another tier. ELAN shows what lies between aligned slots, and several references to one annotation in
sequence, in equal parts; so does this reader.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from re2tal.common.video_files import VIDEO_SUFFIXES
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError, named_like

__all__ = ["SCORE_TYPE", "is_elan", "read_elan"]

SCORE_TYPE = "score of a detector"
"""Type of the tiers that `re2tal export` writes scores into, which are no labels."""

# Of the schema's TIME_UNITS; files in use have milliseconds.
_UNITS_PER_SECOND = {"milliseconds": 1000.0, "PAL-frames": 25.0, "NTSC-frames": 30000 / 1001, "PAL-50-frames": 50.0}

_Span = tuple[float, float]


def is_elan(root: Element) -> bool:
    """Whether a document is of ELAN."""
    return root.tag == "ANNOTATION_DOCUMENT"


def read_elan(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the values of the annotations of all tiers; fields are value, tier, participant and annotator."""
    path, root = file.path, file.xml
    reading = Reading(path=path, format="elan", label_fields=("value",))
    header = root.find("HEADER")
    unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if unit not in _UNITS_PER_SECOND:
        raise SourceError(f"{path} counts time in {unit!r}; known are {', '.join(_UNITS_PER_SECOND)}")
    media = _media(header, path=path)
    reading.covered.append(Coverage(media=media))
    slots = _slots(root, units_per_second=_UNITS_PER_SECOND[unit], path=path)
    tiers = {
        tier.get("TIER_ID", ""): tier for tier in root.iter("TIER") if tier.get("LINGUISTIC_TYPE_REF") != SCORE_TYPE
    }
    spans = _spans(tiers, slots)
    for name, tier in tiers.items():
        for annotation in _annotations(tier):
            key = annotation.get("ANNOTATION_ID", "")
            where = f"{path}, tier {name!r}, annotation {key}"
            if key not in spans:
                reading.drop("no video time", where, "its time slots have no value, nor neighbours that have one")
                continue
            fields = {
                "value": (annotation.findtext("ANNOTATION_VALUE") or "").strip(),
                "tier": name,
                "participant": tier.get("PARTICIPANT", ""),
                "annotator": tier.get("ANNOTATOR", ""),
            }
            reading.add(where, media, spans[key], fields)
    return reading


def _media(header: Element | None, *, path: Path) -> tuple[Media, ...]:
    """Names of the video: films in the header, sounds if there is none; last the name of the file itself."""
    descriptors = [] if header is None else list(header.iter("MEDIA_DESCRIPTOR"))
    found: dict[bool, list[Media]] = {True: [], False: []}
    for descriptor in descriptors:
        try:
            origin = float(descriptor.get("TIME_ORIGIN") or 0) / 1000
        except ValueError:
            origin = 0.0
        for attribute in ("RELATIVE_MEDIA_URL", "MEDIA_URL"):
            name = unquote(descriptor.get(attribute) or "")
            if name:
                is_film = descriptor.get("MIME_TYPE", "").startswith("video") or name.lower().endswith(VIDEO_SUFFIXES)
                found[is_film].append(Media(name=name, origin_seconds=origin))
    old = "" if header is None else header.get("MEDIA_FILE", "")
    last = [Media(name=old)] if old else []
    return (*(found[True] or found[False]), *last, *named_like(path))


def _slots(root: Element, *, units_per_second: float, path: Path) -> dict[str, float | None]:
    """Seconds of every slot; None where it has no value."""
    slots: dict[str, float | None] = {}
    for slot in root.iter("TIME_SLOT"):
        name, value = slot.get("TIME_SLOT_ID", ""), slot.get("TIME_VALUE")
        try:
            slots[name] = None if value is None else int(value) / units_per_second
        except (ValueError, OverflowError):  # as of 400 digits
            raise SourceError(f"{path}: time slot {name!r} must have a whole number, got {value!r:.40}") from None
    return slots


def _annotations(tier: Element) -> list[Element]:
    return [child for holder in tier.iter("ANNOTATION") for child in holder if child.tag.endswith("_ANNOTATION")]


def _spans(tiers: Mapping[str, Element], slots: Mapping[str, float | None]) -> dict[str, _Span]:
    """Start and end in seconds of every annotation that has them, by its id."""
    spans: dict[str, _Span] = {}
    waiting: dict[str, list[Element]] = {}
    for name, tier in tiers.items():
        aligned = [item for item in _annotations(tier) if item.get("TIME_SLOT_REF1") is not None]
        spans |= _aligned_spans(aligned, slots)
        for item in _annotations(tier):
            if item.get("TIME_SLOT_REF1") is None:
                waiting.setdefault(f"{name}\0{item.get('ANNOTATION_REF', '')}", []).append(item)
    # A reference may lead to an annotation that is itself a reference, in any order of the tiers.
    while ready := [key for key in waiting if key.split("\0")[1] in spans]:
        for key in ready:
            siblings = waiting.pop(key)
            start, end = spans[key.split("\0")[1]]
            part = (end - start) / len(siblings)
            for number, item in enumerate(_in_sequence(siblings)):
                spans[item.get("ANNOTATION_ID", "")] = (start + number * part, start + (number + 1) * part)
    return spans


def _in_sequence(siblings: list[Element]) -> list[Element]:
    """References to one annotation, each after the one that it calls previous."""
    after = {item.get("PREVIOUS_ANNOTATION"): item for item in siblings}
    ordered: list[Element] = []
    item = after.get(None)
    while item is not None and len(ordered) < len(siblings):
        ordered.append(item)
        item = after.get(item.get("ANNOTATION_ID"))
    return ordered if len(ordered) == len(siblings) else siblings


def _aligned_spans(aligned: list[Element], slots: Mapping[str, float | None]) -> dict[str, _Span]:
    """Of one tier. Annotations joined by slots without value share the time between the ends of their chain."""
    by_start = {item.get("TIME_SLOT_REF1", ""): item for item in aligned}
    spans: dict[str, _Span] = {}
    for item in aligned:
        start = slots.get(item.get("TIME_SLOT_REF1", ""))
        if start is None:
            continue  # inside a chain, or lost
        chain = [item]
        while (
            (end := slots.get(chain[-1].get("TIME_SLOT_REF2", ""))) is None
            and (following := by_start.get(chain[-1].get("TIME_SLOT_REF2", ""))) is not None
            and len(chain) <= len(aligned)
        ):
            chain.append(following)
        if end is None:
            continue
        part = (end - start) / len(chain)
        for number, link in enumerate(chain):
            spans[link.get("ANNOTATION_ID", "")] = (start + number * part, start + (number + 1) * part)
    return spans
