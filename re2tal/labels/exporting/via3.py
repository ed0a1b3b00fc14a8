"""A project of VIA 3, the VGG Image Annotator for video.

Layout: see `re2tal.labels.formats.via`, which reads it. The class is an attribute of temporal segments with options,
so that VIA's timeline has a row for each; score and annotator are further attributes. VIA opens files of the disk
below a prefix of their addresses, which its user can change for all of them at once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, lasting

__all__ = ["Via3Project"]

_SEGMENT_ANCHOR = "FILE1_Z2_XY0"
_TEXT, _SELECT = 1, 4
_VIDEO = 4
_CHOSEN_BY_HAND, _FILE_ADDRESS = 1, 3
_LABEL, _SCORE, _ANNOTATOR = "1", "2", "3"


class Via3Project:
    """All videos in one project."""

    def file_of(self, video: ExportVideo) -> str:
        """One for all."""
        return "labels.json"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The project."""
        options = {str(number): label for number, label in enumerate(content.class_names, start=1)}
        option_of = {label: key for key, label in options.items()}
        ids = [str(number) for number in range(1, len(content.videos) + 1)]
        items = [
            (view, item)
            for view, video in zip(ids, content.videos, strict=True)
            for item in lasting(video.items, content.notes)
        ]
        prefix = "" if content.folder is None else f"{content.folder.as_uri()}/"
        project = {
            # The markers stand for "of no server yet"; VIA replaces them when the project is shared.
            "project": {
                "pid": "__VIA_PROJECT_ID__",
                "rev": "__VIA_PROJECT_REV_ID__",
                "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
                "pname": path.stem,
                "creator": "re2tal",
                "created": int(1000 * content.changed.timestamp()),
                "data_format_version": "3.1.1",
                "vid_list": ids,
            },
            "config": {
                "file": {"loc_prefix": {"1": "", "2": "", "3": prefix, "4": ""}},
                "ui": {
                    "file_content_align": "center",
                    "file_metadata_editor_visible": True,
                    "spatial_metadata_editor_visible": True,
                    "temporal_segment_metadata_editor_visible": True,
                    "spatial_region_label_attribute_id": "",
                    "gtimeline_visible_row_count": str(min(max(len(options), 4), 8)),
                },
            },
            "attribute": _attributes(options, [item for _, item in items]),
            "file": {
                key: {"fid": key, "type": _VIDEO, **_file(video, content.folder)}
                for key, video in zip(ids, content.videos, strict=True)
            },
            "view": {key: {"fid_list": [key]} for key in ids},
            "metadata": {
                f"{view}_{number}": {
                    "vid": view,
                    "flg": 0,
                    "z": [item.start_ms / 1000, item.end_ms / 1000],
                    "xy": [],
                    "av": _values(item, option_of=option_of),
                }
                for number, (view, item) in enumerate(items, start=1)
            },
        }
        return {path: json.dumps(project, ensure_ascii=False) + "\n"}


def _attributes(options: Mapping[str, str], items: list[ExportItem]) -> dict[str, Any]:
    wanted = {_LABEL: ("label", _SELECT, options)}
    if any(item.score is not None for item in items):
        wanted[_SCORE] = ("score", _TEXT, {})
    if any(item.annotator is not None for item in items):
        wanted[_ANNOTATOR] = ("annotator", _TEXT, {})
    return {
        key: {
            "aname": name,
            "anchor_id": _SEGMENT_ANCHOR,
            "type": kind,
            "desc": "",
            "options": of_attribute,
            "default_option_id": "",
        }
        for key, (name, kind, of_attribute) in wanted.items()
    }


def _file(video: ExportVideo, folder: Path | None) -> dict[str, Any]:
    if video.path is not None and folder is None:
        return {"fname": video.path.as_posix(), "loc": _FILE_ADDRESS, "src": video.path.as_uri()}
    if video.path is None or folder is None or not video.path.is_relative_to(folder):
        return {"fname": video.file_name, "loc": _CHOSEN_BY_HAND, "src": ""}
    below = video.path.relative_to(folder).as_posix()
    return {"fname": below, "loc": _FILE_ADDRESS, "src": quote(below)}


def _values(item: ExportItem, *, option_of: Mapping[str, str]) -> dict[str, str]:
    values = {_LABEL: option_of[item.label]}
    if item.score is not None:
        values[_SCORE] = f"{item.score:.4f}"
    if item.annotator is not None:
        values[_ANNOTATOR] = item.annotator
    return values
