"""What is exported and read again is the same to the millisecond.

It is read by the package's import where that knows the format, and by the readers of other packages.
"""

import json
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pympi
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from re2tal.labels import parse_time
from re2tal.labels.exporting import WRITERS
from tests.labels.conftest import FPS, SECONDS
from tests.labels.exporting.conftest import IDS
from tests.labels.exporting.support import Segments, export, write_annotations
from tests.labels.support import bring_in, segments_of

Found = dict[str, list[tuple[float, float, str]]]


@dataclass(frozen=True, kw_only=True)
class Back:
    """How a format is read again."""

    read: Callable[[Path, Path], Found]
    """From the export and the folder of the videos."""
    step_ms: int = 5
    """Times that the format can hold, which are further apart than what counts as the same action."""
    unfit: str = ""
    """Characters that labels have not, since the format has other uses for them."""


def imported(out: Path, videos: Path) -> Found:
    return segments_of(bring_in(out, videos=videos))


def by_video(out: Path, suffix: str, read: Callable[[Path], Iterable[tuple[float, float, str]]]) -> Found:
    return {str(path.relative_to(out)).removesuffix(suffix): sorted(read(path)) for path in out.rglob(f"*{suffix}")}


def with_pympi(path: Path) -> Iterable[tuple[float, float, str]]:
    document = pympi.Elan.Eaf(str(path))
    for tier in document.get_tier_names():
        for start, end, label in document.get_annotation_data_for_tier(tier):
            yield start / 1000, end / 1000, label


def with_praatio(path: Path) -> Iterable[tuple[float, float, str]]:
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    for tier in grid.tiers:
        yield from ((float(start), float(end), label) for start, end, label in tier.entries)


def with_srt(path: Path) -> Iterable[tuple[float, float, str]]:
    for block in srt.parse(path.read_text(encoding="utf-8"), ignore_errors=False):
        yield block.start.total_seconds(), block.end.total_seconds(), block.content


def with_webvtt(path: Path) -> Iterable[tuple[float, float, str]]:
    for cue in webvtt.read(str(path)):
        yield parse_time(cue.start).seconds, parse_time(cue.end).seconds, cue.text


def from_tasks(out: Path, _: Path) -> Found:
    """By what Label Studio's documentation says of frames: they count from 1, and both ends are inside."""
    found: Found = {}
    for task in json.loads((out / "tasks.json").read_text(encoding="utf-8")):
        regions = [region["value"] for annotation in task.get("annotations", ()) for region in annotation["result"]]
        found[task["data"]["id"]] = sorted(
            ((span["start"] - 1) / task["data"]["fps"], span["end"] / task["data"]["fps"], value["timelinelabels"][0])
            for value in regions
            for span in value["ranges"]
        )
    return found


FORMATS: dict[str, tuple[str, Back]] = {
    "boris": ("boris", Back(read=imported, unfit="|")),
    "elan": ("elan", Back(read=imported)),
    "via3": ("via3", Back(read=imported)),
    "csv": ("csv", Back(read=imported, unfit="=+-@\uff1d\uff0b\uff0d\uff20'")),
    "elan, pympi": ("elan", Back(read=lambda out, _: by_video(out, ".eaf", with_pympi))),
    "textgrid, praatio": ("textgrid", Back(read=lambda out, _: by_video(out, ".TextGrid", with_praatio))),
    "srt, srt": ("srt", Back(read=lambda out, _: by_video(out, ".srt", with_srt), unfit="<>")),
    "vtt, webvtt": ("vtt", Back(read=lambda out, _: by_video(out, ".vtt", with_webvtt), unfit="<>&")),
    "textgrid": ("textgrid", Back(read=imported)),
    "srt": ("srt", Back(read=imported, unfit="<>")),
    "vtt": ("vtt", Back(read=imported, unfit="<>&")),
    "audacity": ("audacity", Back(read=imported, unfit="0123456789")),  # lest a label looks like a time
    "label-studio": ("label-studio", Back(read=imported, step_ms=1000 // FPS)),
    "label-studio, by its documentation": ("label-studio", Back(read=from_tasks, step_ms=1000 // FPS)),
}
"""By what is tested: the format, and how it is read."""


def is_clean(label: str) -> bool:
    """Labels that the import spells as they are."""
    return label == " ".join(unicodedata.normalize("NFC", label).split()) != ""


def segments(back: Back) -> st.SearchStrategy[Segments]:
    letters = st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"], exclude_characters=back.unfit
    )
    words = st.text(letters, min_size=1, max_size=12).filter(is_clean)
    times = st.integers(0, round(1000 * SECONDS) // back.step_ms).map(lambda place: place * back.step_ms / 1000)
    spans = st.tuples(times, times).filter(lambda span: span[0] != span[1]).map(lambda span: tuple(sorted(span)))

    def of_classes(classes: list[str]) -> st.SearchStrategy[Segments]:
        rows = st.builds(lambda span, label: (*span, label), spans, st.sampled_from(classes))
        return st.fixed_dictionaries({name: st.lists(rows, unique=True, max_size=12) for name in IDS})

    return st.lists(words, min_size=1, max_size=3, unique=True).flatmap(of_classes)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_segment_comes_back(name: str, videos: Path, data: st.DataObject) -> None:
    format_, back = FORMATS[name]
    wanted = data.draw(segments(back))
    with tempfile.TemporaryDirectory() as folder:
        source = write_annotations(Path(folder, "labels.json"), wanted)
        report = export(source, format_, Path(folder, "out"), videos=videos)
        found = back.read(Path(folder, "out"), videos)
    assert report.num_labels == sum(map(len, wanted.values())) and not report.skipped
    for video, listed in wanted.items():
        rounded = [(round(start, 6), round(end, 6), label) for start, end, label in found.get(video, [])]
        assert rounded == sorted(listed), report.notes.lines()


def test_every_format_that_holds_segments_comes_back() -> None:
    assert {format_ for format_, _ in FORMATS.values()} >= WRITERS.keys() - {"soccernet"}
