"""Documents keep to the schema of ELAN's files, version 3.0 (mpi.nl/tools/elan/EAFv3.0.xsd), as far as they use it."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pympi

from tests.labels.exporting.support import export, write_annotations, write_detections
from tests.labels.support import bring_in, segments_of

ROWS = {
    "a": [(1.0, 4.0, "Run", 0.9), (2.0, 3.0, "Run", 0.8), (5.0, 5.0, "Jump & <stop>", 0.7)],
    "day 1/b": [(0.5, 1.0, "Run 2", 0.5), (0.5, 1.0, "Run 2", 0.4)],
    "ü & c": [],
}
ORDER = ("HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE", "CONSTRAINT")
REQUIRED = {
    "ANNOTATION_DOCUMENT": {"DATE", "AUTHOR", "VERSION"},
    "MEDIA_DESCRIPTOR": {"MEDIA_URL", "MIME_TYPE"},
    "TIME_SLOT": {"TIME_SLOT_ID"},
    "TIER": {"TIER_ID", "LINGUISTIC_TYPE_REF"},
    "ALIGNABLE_ANNOTATION": {"ANNOTATION_ID", "TIME_SLOT_REF1", "TIME_SLOT_REF2"},
    "REF_ANNOTATION": {"ANNOTATION_ID", "ANNOTATION_REF"},
    "LINGUISTIC_TYPE": {"LINGUISTIC_TYPE_ID"},
    "CONSTRAINT": {"STEREOTYPE"},
}


def check_schema(root: Element) -> None:
    """What the schema asks: order, attributes, ids that are names and different, references that lead somewhere."""
    places = [ORDER.index(child.tag) for child in root]
    assert places == sorted(places) and Counter(places)[0] == Counter(places)[1] == 1
    for element in root.iter():
        assert element.attrib.keys() >= REQUIRED.get(element.tag, set()), element.tag
    ids = [
        *(slot.get("TIME_SLOT_ID", "") for slot in root.iter("TIME_SLOT")),
        *(item.get("ANNOTATION_ID", "") for tag in ("ALIGNABLE", "REF") for item in root.iter(f"{tag}_ANNOTATION")),
        *(item.get("STEREOTYPE", "") for item in root.iter("CONSTRAINT")),
    ]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII) for name in ids)
    tiers = [tier.get("TIER_ID") for tier in root.iter("TIER")]
    types = {kind.get("LINGUISTIC_TYPE_ID"): kind for kind in root.iter("LINGUISTIC_TYPE")}
    assert len(set(tiers)) == len(tiers)
    for tier in root.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in types and tier.get("PARENT_REF") in (None, *tiers)
    references = [
        item.get(name)
        for item in root.iter()
        for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2", "ANNOTATION_REF", "CONSTRAINTS")
    ]
    assert set(filter(None, references)) <= set(ids)
    assert all(kind.get("TIME_ALIGNABLE") in ("true", "false") for kind in types.values())


def check_times(root: Element) -> None:
    """What ELAN asks beyond it: slots in order, annotations that last and do not overlap in their tier."""
    times = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    assert list(times.values()) == sorted(times.values())
    for tier in root.iter("TIER"):
        spans = [
            (times[item.get("TIME_SLOT_REF1")], times[item.get("TIME_SLOT_REF2")])
            for item in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        assert all(start < end for start, end in spans)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))


def documents(folder: Path) -> dict[str, Element]:
    return {str(path.relative_to(folder)): ElementTree.parse(path).getroot() for path in sorted(folder.rglob("*.eaf"))}


def test_documents_are_valid_and_lead_to_their_videos(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "elan", tmp_path / "out", videos=videos)
    found = documents(tmp_path / "out")
    assert list(found) == ["a.eaf", "day 1/b.eaf", "ü & c.eaf"]
    for name, root in found.items():
        check_schema(root)
        check_times(root)
        (media,) = root.iter("MEDIA_DESCRIPTOR")
        video = (videos / name.replace(".eaf", ".mp4")).resolve()
        assert Path(unquote(urlparse(media.attrib["MEDIA_URL"]).path)) == video
        assert ((tmp_path / "out" / name).parent / unquote(media.attrib["RELATIVE_MEDIA_URL"])).resolve() == video


def test_every_class_has_a_tier_and_scores_depend_on_it(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    report = export(source, "elan", tmp_path / "out", videos=videos)
    document = pympi.Elan.Eaf(str(tmp_path / "out/a.eaf"))
    labels = ["Jump & <stop>", "Run", "Run 2", "Run 2 (2)"]
    assert sorted(document.get_tier_names()) == sorted([*labels, *(f"{name} score" for name in labels)])
    assert document.get_annotation_data_for_tier("Run 2") == [(2000, 3000, "Run")]
    assert document.get_ref_annotation_data_for_tier("Run score") == [(1000, 4000, "0.9000", "Run")]
    assert document.get_parameters_for_tier("Run score")["PARENT_REF"] == "Run"
    constraint = document.get_parameters_for_linguistic_type("score of a detector")["CONSTRAINTS"]
    assert constraint == "Symbolic_Association"
    assert sum(report.notes.as_json().values()) == 3  # overlaps in a and b, a point


def test_scores_are_not_read_as_labels(tmp_path: Path, videos: Path) -> None:
    source = write_detections(tmp_path / "detections.json", ROWS)
    export(source, "elan", tmp_path / "out", videos=videos)
    found = segments_of(bring_in(tmp_path / "out", videos=videos))
    assert found["a"] == [(1.0, 4.0, "Run"), (2.0, 3.0, "Run"), (5.0, 5.001, "Jump & <stop>")]


def test_annotators_have_tiers_of_their_own(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": [(0.0, 1.0, "Run"), (0.5, 2.0, "Run")]})
    content = source.read_text()
    for name in ("anna", "bo"):
        content = content.replace('"label": "Run"}', f'"label": "Run", "annotator": "{name}"}}', 1)
    source.write_text(content)
    export(source, "elan", tmp_path / "a.eaf")
    document = pympi.Elan.Eaf(str(tmp_path / "a.eaf"))
    check_schema(ElementTree.parse(tmp_path / "a.eaf").getroot())
    tiers = {name: document.get_parameters_for_tier(name).get("ANNOTATOR") for name in document.get_tier_names()}
    assert tiers == {"Run (anna)": "anna", "Run (bo)": "bo"}
