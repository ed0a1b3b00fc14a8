from pathlib import Path

import pytest

from re2tal.labels import SourceError
from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import eaf

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>"""
FETCH = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]>
<ANNOTATION_DOCUMENT>&file;</ANNOTATION_DOCUMENT>"""
OUTSIDE = '<!DOCTYPE x SYSTEM "http://localhost/x.dtd"><ANNOTATION_DOCUMENT/>'


def document(slots: str, tiers: str) -> str:
    header = '<HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///a.mp4" MIME_TYPE="video/mp4"/>'
    return f"<ANNOTATION_DOCUMENT>{header}</HEADER><TIME_ORDER>{slots}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>"


def slot(name: str, value: int | None) -> str:
    told = "" if value is None else f' TIME_VALUE="{value}"'
    return f'<TIME_SLOT TIME_SLOT_ID="{name}"{told}/>'


def aligned(name: str, start: str, end: str, value: str) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}" TIME_SLOT_REF1="{start}" TIME_SLOT_REF2="{end}">'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def reference(name: str, to: str, value: str, *, previous: str | None = None) -> str:
    told = "" if previous is None else f' PREVIOUS_ANNOTATION="{previous}"'
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{name}" ANNOTATION_REF="{to}"{told}>'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def tier(name: str, *annotations: str) -> str:
    return f'<TIER TIER_ID="{name}">{"".join(annotations)}</TIER>'


def write(folder: Path, text: str, name: str = "x.eaf") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [BOMB, FETCH, OUTSIDE])
def test_document_types_are_refused_before_anything_is_expanded(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="refused as unsafe"):
        read(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<?xml version='1.0'?><ANNOTATION_DOCUMENT>", "not readable XML"),
        ("<?xml version='1.0'?><TextGrid/>", "root is <TextGrid>"),
        (document(slot("t1", 1).replace('"1"', '"soon"'), ""), "time slot 't1' must have a whole number, got 'soon'"),
        (document("", "").replace("milliseconds", "beats"), "counts time in 'beats'"),
        ('<?xml version="1.0" encoding="nonsense"?><ANNOTATION_DOCUMENT/>', "not readable XML"),
    ],
)
def test_what_is_no_document_of_elan(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, text))


def test_slots_without_value_share_the_time_between_their_neighbours(tmp_path: Path, clips: Path) -> None:
    slots = slot("t1", 1000) + slot("t2", None) + slot("t3", None) + slot("t4", 4000) + slot("t5", 5000)
    tiers = tier(
        "words",
        aligned("a1", "t1", "t2", "one"), aligned("a2", "t2", "t3", "two"), aligned("a3", "t3", "t4", "three"),
        aligned("a4", "t4", "t5", "four"),
    )  # fmt: skip
    found = segments_of(bring_in(write(tmp_path, document(slots, tiers)), videos=clips))
    assert found == {"a": [(1.0, 2.0, "one"), (2.0, 3.0, "two"), (3.0, 4.0, "three"), (4.0, 5.0, "four")]}


def test_slots_that_nothing_places_are_told(tmp_path: Path, clips: Path) -> None:
    slots = slot("t1", 1000) + slot("t2", None) + slot("t3", None)
    tiers = tier("words", aligned("a1", "t1", "t2", "one"), aligned("a2", "t3", "t2", "two"))
    assert reasons(bring_in(write(tmp_path, document(slots, tiers)), videos=clips)) == {"no video time": 2}


def test_references_have_the_time_of_what_they_refer_to(tmp_path: Path, clips: Path) -> None:
    tiers = (
        tier("second", reference("r2", "r1", "of a reference"))
        + tier("first", reference("r1", "a1", "whole"))
        + tier("parts", reference("p2", "a1", "latter", previous="p1"), reference("p1", "a1", "former"))
        + tier("main", aligned("a1", "t1", "t2", "run"))
        + tier("lost", reference("l1", "nowhere", "lost"), reference("l2", "l2", "itself"))
    )
    imported = bring_in(write(tmp_path, document(slot("t1", 2000) + slot("t2", 6000), tiers)), videos=clips)
    assert segments_of(imported)["a"] == [
        (2.0, 4.0, "former"), (2.0, 6.0, "of a reference"), (2.0, 6.0, "run"), (2.0, 6.0, "whole"), (4.0, 6.0, "latter")
    ]  # fmt: skip
    assert reasons(imported) == {"no video time": 2}


def test_tiers_may_be_chosen_and_be_the_label(tmp_path: Path, clips: Path) -> None:
    tiers = tier("run", aligned("a1", "t1", "t2", "")) + tier("notes", aligned("a2", "t1", "t2", "rain"))
    path = write(tmp_path, document(slot("t1", 2000) + slot("t2", 6000), tiers))
    chosen = bring_in(path, videos=clips, label=("tier",), only={"tier": frozenset({"run"})})
    assert segments_of(chosen) == {"a": [(2.0, 6.0, "run")]}
    assert reasons(chosen) == {"not selected": 1}
    everything = bring_in(path, videos=clips)
    assert reasons(everything) == {"empty label": 1}
    assert "2 tiers, 'run' (1), 'notes' (1); --only tier=NAME" in everything.report.notes[0]
    assert not chosen.report.notes


def test_a_video_is_found_by_the_sound_that_alone_is_linked(tmp_path: Path, clips: Path) -> None:
    text = eaf([(1.0, 2.0, "run")], media=["c.mp4"]).replace("c.mp4", "c.wav").replace("video/mp4", "audio/x-wav")
    assert segments_of(bring_in(write(tmp_path, text), videos=clips)) == {"c": [(1.0, 2.0, "run")]}


def test_the_video_is_the_film_that_the_header_names_and_begins_where_it_says(tmp_path: Path, clips: Path) -> None:
    segments = [(1.0, 2.0, "run & <jump>")]
    sound = '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///b.wav" '
    text = eaf(segments, media=["c.mp4"], origin=500).replace(
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">', sound + 'MIME_TYPE="audio/x-wav"/>'
    )
    assert segments_of(bring_in(write(tmp_path, text), videos=clips)) == {"c": [(1.5, 2.5, "run & <jump>")]}


def test_without_a_known_media_file_the_name_of_the_document_counts(tmp_path: Path, clips: Path) -> None:
    path = write(tmp_path, eaf([(1.0, 2.0, "run")], media=["elsewhere.mp4"]), name="d.eaf")
    assert segments_of(bring_in(path, videos=clips)) == {"d": [(1.0, 2.0, "run")]}


def test_other_encodings_of_xml(tmp_path: Path, clips: Path) -> None:
    path = tmp_path / "x.eaf"
    text = eaf([(1.0, 2.0, "größer")], media=["a.mp4"])
    path.write_bytes(text.replace("UTF-8", "UTF-16").encode("utf-16"))
    assert segments_of(bring_in(path, videos=clips)) == {"a": [(1.0, 2.0, "größer")]}
