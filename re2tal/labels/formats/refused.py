"""Files that are known and not read: what they are, and what to give instead."""

import json
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

from re2tal.labels.tables import Table

__all__ = ["BY_ENDING", "archived", "what_bytes_are", "what_json_is", "what_table_is", "what_text_is"]

_POSE = "poses are no labels of actions; give the file in which behaviour was scored"
_TABLE = "write its labels as a table with the columns video, start, end and label"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (
        b"\x89HDF\r\n\x1a\n",
        f"an HDF5 file, as DeepLabCut, SLEAP, DeepEthogram and MATLAB 7.3 write; {_TABLE} (poses are none)",
    ),
    (b"MATLAB 5.0 MAT-file", f"a file of MATLAB (.mat); {_TABLE}, with writetable"),
    (b"\x93NUMPY", f"an array of NumPy (.npy); {_TABLE}, or one row a frame and a column of 0 and 1 for each class"),
    (b"PAR1", f"a Parquet file; {_TABLE}, with pandas.DataFrame.to_csv"),
    (b"ARROW1", f"a Feather file; {_TABLE}, with pandas.DataFrame.to_csv"),
    (b"SQLite format 3\0", f"a data base of SQLite; {_TABLE}"),
    (b"%PDF-", f"a PDF; {_TABLE}"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM), not a file of labels; give its folder with --videos"),
    (b"RIFF", "a video or sound (RIFF), not a file of labels; give its folder with --videos"),
    (b"ooBinaryFile\x08TextGrid", "a binary TextGrid of Praat; save it as a text file (Save as text file...)"),
)
_PICKLE = f"a pickle, which runs code when it is opened and is never opened here; {_TABLE}"
_PICKLED = re.compile(rb"\x80[\x02-\x05](?:[}\]\x95c(KXUqJGM\x8c]|\x8a)")

_IN_ARCHIVE: tuple[tuple[str, str], ...] = (
    ("word/document.xml", f"a document of Word; {_TABLE}, in a spreadsheet or as CSV"),
    ("ppt/presentation.xml", f"slides of PowerPoint; {_TABLE}"),
    ("Index/Document.iwa", "a spreadsheet of Numbers; export it as Excel or CSV"),
    ("annotations.xml", "an archive of CVAT; unpack annotations.xml"),
    (".npy", f"arrays of NumPy (.npz); {_TABLE}, or one row a frame and a column of 0 and 1 for each class"),
    (".pkl", _PICKLE),
)
BY_ENDING: dict[str, str] = {
    ".odx": "a project of The Observer XT: export its events as text or Excel",
    ".otx": "a project of The Observer: export its events as text or Excel",
    ".etx": "EthoVision: export raw data as text or Excel",
    ".evxt": "EthoVision: export raw data as text or Excel",
    ".pfsx": "ELAN's settings: the annotations are in the .eaf beside it",
    ".pkl": "a pickle, which runs code when it is opened",
    ".pickle": "a pickle, which runs code when it is opened",
    ".npy": "NumPy: write a table", ".npz": "NumPy: write a table",
    ".mat": "MATLAB: write a table", ".h5": "HDF5: write a table", ".hdf5": "HDF5: write a table",
    ".slp": "poses of SLEAP", ".numbers": "Numbers: export as Excel or CSV", ".zip": "unpack it",
}  # fmt: skip


def what_bytes_are(raw: bytes) -> str | None:
    """What a binary file is, if it is known; None for texts and spreadsheets."""
    for magic, what in _MAGIC:
        if raw.startswith(magic):
            return what
    if raw[4:8] == b"ftyp":
        return "a video (MP4 or QuickTime), not a file of labels; give its folder with --videos"
    if _PICKLED.match(raw):
        return _PICKLE
    if raw.startswith(b"PK\x03\x04"):
        names = archived(raw)
        return next((what for part, what in _IN_ARCHIVE if any(name.endswith(part) for name in names)), None)
    return None


def archived(raw: bytes) -> list[str]:
    """Names of the files in an archive; none where it is damaged."""
    try:
        with zipfile.ZipFile(BytesIO(raw)) as files:
            return files.namelist()[:10_000]
    except Exception:  # a damaged archive makes its reader fail in any way
        return []


def what_json_is(content: Any) -> str | None:
    """What a JSON value is, if it is known."""
    if isinstance(content, list):
        content = content[0] if content and isinstance(content[0], dict) else {}
        if content.keys() >= {"image_id", "category_id", "bbox"}:
            return "results of a detector in COCO's layout, boxes in pictures; give labels of actions with times"
        return None
    if not isinstance(content, dict):
        return None
    tests: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: content.keys() >= {"images", "annotations", "categories"},
         "COCO's JSON of objects or poses in pictures, which has no times; give labels of actions with times"),
        (lambda: content.keys() >= {"shapes", "imagePath"},
         "labels of a picture by labelme, which have no times; give labels of actions with times"),
        (lambda: content.keys() >= {"skeletons", "videos"} or "keypoint_names" in content, f"poses; {_POSE}"),
        (lambda: content.keys() >= {"nbformat", "cells"}, f"a notebook of Jupyter; {_TABLE}"),
        (lambda: content.keys() >= {"metadata", "instances", "tags"}, f"a video of SuperAnnotate; {_TABLE}"),
    )  # fmt: skip
    return next((what for is_it, what in tests if is_it()), None)


def what_table_is(head: Table) -> str | None:
    """What a table is, if it is known and holds no labels."""
    first = [[cell.strip().lower() for cell in row.cells] for row in head.rows[:4]]
    if len(first) < 2:
        return None
    if first[0][0] == "scorer" and first[1][0] in ("bodyparts", "individuals"):
        return f"a pose table of DeepLabCut; {_POSE}"
    if set(first[0]) >= {"track", "frame_idx", "instance.score"}:
        return f"a pose table of SLEAP; {_POSE}"
    if set(first[0]) >= {"filename", "width", "height", "class", "xmin"}:
        return "a table of boxes in pictures, which has no times; give labels of actions with times"
    return None


def what_text_is(text: str) -> str | None:
    """What a text is, if it is known."""
    start = text.lstrip("\ufeff \r\n")[:400]
    if start.startswith(("FirstLineOfData", "FirstLineOfResults")):
        return f"a file of JWatcher; {_TABLE}"
    if start.startswith('"Praat chronological TextGrid text file"'):
        return "a chronological TextGrid; save it in Praat as a text file (Save as text file...)"
    if start.startswith("[Script Info]"):
        return "subtitles of SubStation (.ass); save them as .srt or .vtt"
    try:
        is_lines = start.startswith("{") and "\n" in text and isinstance(json.loads(text.split("\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return None
    return f"JSON in lines; {_TABLE}" if is_lines else None
