"""Formats are told apart by their content, whatever the file is called; what is known and not read is named."""

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.labels import FORMATS as NAMES
from re2tal.labels import ReadOptions, SourceError, SourceFile, read_sources
from re2tal.labels.formats import is_workbook, sheets_of
from re2tal.labels.formats.recognition import KNOWN
from tests.labels.frame_writers import BY_FRAME
from tests.labels.program_writers import EXACT, POINTS
from tests.labels.support import read
from tests.labels.writers import FORMATS, write_csv

SEGMENTS = {
    "a": [(0.5, 2.5, "Run"), (3.5, 5.5, "Jump"), (5.5, 6.5, "Run")],
    "b": [(1.5, 3.5, "Jump"), (7.5, 8.5, "Run")],
}
EVERY = {**FORMATS, **EXACT, **BY_FRAME, **POINTS}
# Known by their folder, or any table.
UNRECOGNISED = ("thumos", "csv")


def files_of(name: str, folder: Path) -> list[SourceFile]:
    """What a writer writes, under a name that tells nothing."""
    source = EVERY[name][1](folder, SEGMENTS)
    found: list[SourceFile] = []
    for path in sorted(filter(Path.is_file, source.rglob("*"))) if source.is_dir() else [source]:
        raw = path.read_bytes()
        if is_workbook(raw):
            sheets = [(sheet, table) for sheet, table in sheets_of(path) if sheet != "read me"]
            found += [SourceFile(Path("x.dat") / sheet, b"", sheet=table) for sheet, table in sheets]
        else:
            found.append(SourceFile(Path("x.dat"), raw))
    return found


@pytest.mark.parametrize("name", EVERY)
def test_a_sample_is_of_its_own_format_and_of_no_other(name: str, tmp_path: Path) -> None:
    format_ = EVERY[name][0]
    for file in files_of(name, tmp_path):
        recognised = {known.name for known in KNOWN if known.recognises(file)}
        assert recognised == (set() if format_ in UNRECOGNISED else {format_})


def test_every_format_has_a_sample() -> None:
    assert {format_ for format_, _ in EVERY.values()} | {"multithumos"} == set(NAMES)
    assert {known.name for known in KNOWN} | {"csv"} == set(NAMES)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".xml", ".xlsx"])
@pytest.mark.parametrize("name", ["srt", "textgrid", "cvat, video", "xls", "label studio, min", "deepethogram"])
def test_the_ending_does_not_matter(name: str, suffix: str, tmp_path: Path) -> None:
    source = EVERY[name][1](tmp_path, SEGMENTS)
    file = next(path for path in sorted(source.rglob("*")) if path.is_file()) if source.is_dir() else source
    renamed = tmp_path / f"a{suffix}"
    renamed.write_bytes(file.read_bytes())
    (reading,) = read_sources([renamed], format_=None, options=ReadOptions())
    assert reading.format == EVERY[name][0] and reading.records


def archive(*names: str) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as files:
        for name in names:
            files.writestr(name, "x")
    return raw.getvalue()


def array(*, packed: bool) -> bytes:
    raw = io.BytesIO()
    if packed:
        np.savez(raw, x=np.zeros(3))
    else:
        np.save(raw, np.zeros(3))
    return raw.getvalue()


DEEPLABCUT = "scorer,net,net,net\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n0,1.5,2.5,0.9\n1,1.5,2.5,0.9\n"
SLEAP = "track,frame_idx,instance.score,nose.x,nose.y,nose.score\n,0,0.9,1.5,2.5,1\n,1,0.9,1.5,2.5,1\n"
KEPT_OUT: dict[str, tuple[bytes, str]] = {
    "deeplabcut": (DEEPLABCUT.encode(), "a pose table of DeepLabCut; poses are no labels"),
    "sleap": (SLEAP.encode(), "a pose table of SLEAP"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file, as DeepLabCut, SLEAP, DeepEthogram"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "a file of MATLAB .*writetable"),
    "pickle": (pickle.dumps({"gttubes": {}, "labels": []}), "a pickle, which runs code when it is opened"),
    "pickle of a list": (pickle.dumps([{"a": 1.5}], protocol=2), "a pickle"),
    "npy": (array(packed=False), "an array of NumPy"),
    "npz": (array(packed=True), r"arrays of NumPy \(.npz\)"),
    "coco": (json.dumps({"images": [], "annotations": [{"id": 1}], "categories": []}).encode(), "COCO's JSON"),
    "labelme": (json.dumps({"version": "5", "shapes": [], "imagePath": "a.jpg"}).encode(), "labelme, which have no"),
    "lines": (b'{"a": 1}\n{"a": 2}\n', "JSON in lines"),
    "jwatcher": (b"FirstLineOfData=14\n#-----\n# Name: a.dat\n# Format: Focal Data File 1.0\n0,a\n", "of JWatcher"),
    "word": (archive("[Content_Types].xml", "word/document.xml"), "a document of Word"),
    "numbers": (archive("Index/Document.iwa"), "a spreadsheet of Numbers; export it as Excel or CSV"),
    "cvat's archive": (archive("annotations.xml", "images/1.png"), "an archive of CVAT; unpack annotations.xml"),
    "interface": (b'<View><Video name="v" value="$video"/></View>', "a labelling interface of Label Studio"),
    "video": (b"\0\0\0\x18ftypisom" + bytes(64), r"a video \(MP4 or QuickTime\), not a file of labels.*--videos"),
    "substation": (b"[Script Info]\nTitle: x\n", "subtitles of SubStation"),
    "voc": (b"<annotation><folder>x</folder><object><name>dog</name></object></annotation>", "XML of no known layout"),
    "via 2 without frames": (
        json.dumps({"_via_img_metadata": {"x": {"filename": "a.jpg", "regions": [], "file_attributes": {}}}}).encode(),
        "VIA 2, which marks pictures and knows no time.*VIA 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT_OUT)
def test_what_is_known_and_not_read_is_named(name: str, tmp_path: Path) -> None:
    raw, message = KEPT_OUT[name]
    path = tmp_path / "labels.dat"
    path.write_bytes(raw)
    with pytest.raises(SourceError, match=f"labels.dat is .*{message}") as caught:
        read(path)
    assert len(str(caught.value)) < 600


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (Path.write_text, (tmp_path / "ran", "x"))

    for protocol in range(2, 6):
        (tmp_path / "x.csv").write_bytes(pickle.dumps(Harmful(), protocol=protocol))
        with pytest.raises(SourceError, match="a pickle"):
            read(tmp_path / "x.csv")
        (tmp_path / "x.csv").write_bytes(gzip.compress(pickle.dumps({"x": Harmful()}, protocol=protocol)))
        with pytest.raises(SourceError, match="a pickle"):
            read(tmp_path / "x.csv")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        # Beside an annotation a column of 0 and 1 makes no table of frames.
        ("video,start,end,label,occluded\na,1,2,run,0\na,3,4,run,1\na,5,6,run,1\n", "csv"),
        ("1.0\t2.5\trun\n3.0\t4.0\tjump\n", "audacity"),
        ("1,0\t2,5\trun\n3,0\t4,0\tjump\n", "csv"),
        ("a 1.0 2.0\na 3.0 4.0\n", None),
        ("time,label\n1.0,run\n2.0,jump\n3.0,run\n", None),
        ("frame,label\n0,run\n1,run\n2,sit\n", "per-frame"),
        ("run,sit\n0,1\n1,0\n1,0\n", "per-frame"),
        ("x,y\n0.5,1\n1.5,0\n2.5,0\n", None),
        ("video,start,end,label\nWEBVTT,1,2,run\n", "csv"),
        ("# a remark\nvideo,start,end,label\na,1,2,run\n", "csv"),
    ],
)
def test_what_looks_alike_is_not_confused(text: str, format_: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    if format_ is None:
        with pytest.raises(SourceError, match="a.txt"):
            read(path)
    else:
        assert read(path).format == format_


def test_a_format_that_is_named_is_tried_alone(tmp_path: Path) -> None:
    path = write_csv(tmp_path, SEGMENTS)
    for name in sorted(set(NAMES) - {"csv", "thumos", "multithumos"}):
        with pytest.raises(SourceError, match="labels.csv"):
            read_sources([path], format_=name, options=ReadOptions())
