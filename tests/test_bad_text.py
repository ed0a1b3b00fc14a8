"""Whatever stands in a file, reading it gives a value or an error of the package's own: stress/bad_text.py in small."""

import gc
import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from re2tal.common.annotation_files import Repeats
from re2tal.data.annotations import AnnotationError, read_annotations
from re2tal.detections import VideoScoresError
from re2tal.detections.video_scores import UntrimmedNetConfig
from re2tal.evaluation import EvaluationError, read_ground_truth, read_predictions
from re2tal.labels import ReadOptions, SourceError, read_sources

CASES = 2000


@pytest.fixture(scope="module")
def bad_text() -> ModuleType:
    return import_module("bad_text")


def test_damaged_files_are_read_or_refused(bad_text: ModuleType) -> None:
    total = sum(target.weight for target in bad_text.TARGETS.values())
    counts = {"read": 0, "refused": 0}
    for name, target in bad_text.TARGETS.items():
        found = bad_text.run_target(target, num_cases=round(CASES * target.weight / total), seed_=1)
        assert not found.broken, f"{name}: {found.broken[0]}"
        for key in counts:
            counts[key] += found.counts[key]
    assert sum(counts.values()) > 0.9 * CASES and min(counts.values()) > 0.1 * CASES


def test_the_program_notices_errors_that_are_not_the_packages_own(bad_text: ModuleType) -> None:
    from hypothesis import strategies as st

    for error, seen in ((KeyError("x"), 1), (ValueError("x"), 1), (AnnotationError("x"), 0)):

        def read(folder: Path, case: bool, error: Exception = error) -> None:
            raise error

        target = bad_text.Target(cases=st.booleans(), read=read)
        assert len(bad_text.run_target(target, num_cases=2, seed_=0).broken) == seen


def test_a_key_that_comes_twice_is_told() -> None:
    from re2tal.common.untrusted import JsonError, parse_json

    with pytest.raises(JsonError, match="has the key 'a' twice"):
        parse_json('{"b": {"a": 1, "c": 2, "a": 3}}')
    assert parse_json('[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("text", [b"[1]", "[1]", b"[", '{"a": 1, "a": 2}'])
def test_reading_json_leaves_the_garbage_collector_as_it_was(enabled: bool, text: str | bytes) -> None:
    from re2tal.common.untrusted import JsonError, parse_json

    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(JsonError):
            parse_json(text)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_of_every_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    entry = {"subset": "t", "duration": 9, "annotations": [{"segment": [1, 2], "label": "éß日"}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"a": entry}}, ensure_ascii=False), encoding=encoding)
    (video,) = read_annotations(path).videos
    assert video.actions[0].label == "éß日"


@pytest.mark.parametrize("number", ["1e400", "9" * 5000, "-" + "9" * 400, "NaN", "1e9"])
def test_numbers_of_any_size_are_refused_with_the_video(tmp_path: Path, number: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'{{"database": {{"a": {{"subset": "t", "duration": {number}, "annotations": []}}}}}}')
    with pytest.raises(AnnotationError, match=r"a\.json, video 'a': \"duration\" must be the length in seconds"):
        read_annotations(path)


def test_a_video_in_two_subsets_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": {"duration_second": 3, "annotations": []}}')
    (tmp_path / "s.csv").write_text("video,subset\na,training\na,testing\n")
    with pytest.raises(AnnotationError, match=r"s\.csv: every video must be in one subset, got 'training' for 'a'"):
        read_annotations(tmp_path / "a.json", subset_file=tmp_path / "s.csv")


def test_repeats_are_those_of_a_plain_search() -> None:
    draw = np.random.default_rng(0)
    repeats, kept = Repeats(), []
    for start, length, label in zip(
        draw.integers(0, 900, 2000) / 3e3, draw.integers(1, 4, 2000) / 1.5e3, draw.integers(0, 2, 2000), strict=True
    ):
        end = start + length
        is_new = not any(
            label == other and max(abs(start - first), abs(end - last)) <= 1e-3 for first, last, other in kept
        )
        assert repeats.add(int(label), float(start), float(end)) == is_new
        if is_new:
            kept.append((start, end, label))
    assert 100 < len(kept) < 1900


def test_many_segments_of_one_video_are_read_in_time(tmp_path: Path) -> None:
    """A search through the earlier ones for each would take hours."""
    rows = [{"segment": [0.01 * row, 0.01 * row + 2], "label": "run"} for row in range(50_000)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"a": {"subset": "t", "duration": 1e4, "annotations": rows}}}))
    assert len(read_annotations(path).videos[0].actions) == 50_000
    assert len(read_ground_truth(path, subset="t").segments) == 50_000


@pytest.mark.parametrize("shape", ["(1000000000000, 101)", "(3, 101, 1000000000000)", "(" * 300])
def test_an_array_that_claims_to_be_huge_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)
    with pytest.raises(VideoScoresError, match=r"x\.npy is not a readable NPY file"):
        UntrimmedNetConfig(path=path).read()


def test_archives_do_not_unpack_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("re2tal.evaluation.files._LARGEST_NPZ", 10_000)
    columns = {name: np.zeros(1000) for name in ("t_start", "t_end", "score")}
    np.savez_compressed(tmp_path / "x.npz", video_id=["a"] * 1000, label=["b"] * 1000, **columns)
    with pytest.raises(EvaluationError, match=r"x\.npz is not a readable NPZ file: it unpacks to \d+ bytes"):
        read_predictions(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">',
        '<!ENTITY c SYSTEM "file:///etc/passwd">',
        '<!ENTITY % c SYSTEM "http://127.0.0.1/x"> %c;',
    ],
    ids=["laughs", "file", "address"],
)
def test_xml_with_entities_is_refused(tmp_path: Path, entities: str) -> None:
    path = tmp_path / "x.eaf"
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>')
    with pytest.raises(SourceError, match=r"x\.eaf declares a document type"):
        read_sources([path], format_=None, options=ReadOptions())


def test_boxes_of_a_via_project_do_not_multiply_without_end(tmp_path: Path) -> None:
    names = [str(number) for number in range(12)]
    content = {
        "attribute": {name: {"aname": name, "type": 2, "options": {}} for name in names},
        "file": {"1": {"fname": "one.mp4"}},
        "view": {"1": {"fid_list": ["1"]}},
        "metadata": {"a": {"vid": "1", "z": [1, 2], "xy": [], "av": dict.fromkeys(names, "1,2,3,4,5,6")}},
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    (reading,) = read_sources([tmp_path / "x.json"], format_=None, options=ReadOptions())
    assert not reading.records and "combinations" in reading.problems[0].detail
