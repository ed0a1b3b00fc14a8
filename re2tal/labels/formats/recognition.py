"""The table of formats, in the order in which a file's content is compared with them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from re2tal.common.untrusted import shown
from re2tal.labels.formats.anvil import is_anvil, read_anvil
from re2tal.labels.formats.ava import is_ava, read_ava
from re2tal.labels.formats.bento import is_bento, read_bento
from re2tal.labels.formats.boris import boris_header, is_boris_project, read_boris_project, read_boris_table
from re2tal.labels.formats.calms21 import is_calms21, read_calms21
from re2tal.labels.formats.cvat import is_cvat, read_cvat
from re2tal.labels.formats.ego4d import is_ego4d, read_ego4d
from re2tal.labels.formats.elan import is_elan, read_elan
from re2tal.labels.formats.label_studio import is_label_studio, read_label_studio
from re2tal.labels.formats.noldus import is_ethovision, is_observer, read_ethovision, read_observer
from re2tal.labels.formats.per_frame import is_per_frame, read_per_frame
from re2tal.labels.formats.predictions import is_detections, read_detections
from re2tal.labels.formats.published import (
    is_activitynet,
    is_multithumos,
    is_numbered,
    read_activitynet,
    read_numbered,
    read_thumos,
)
from re2tal.labels.formats.refused import what_json_is, what_table_is, what_text_is
from re2tal.labels.formats.safe_xml import is_xml
from re2tal.labels.formats.soccernet import is_soccernet, read_soccernet
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.formats.speech import is_audacity, is_textgrid, read_audacity, read_textgrid
from re2tal.labels.formats.spreadsheets import (
    is_charades,
    is_epic_kitchens,
    read_charades_table,
    read_csv,
    read_epic_kitchens,
)
from re2tal.labels.formats.subtitles import is_srt, is_vtt, read_subtitles
from re2tal.labels.formats.via import is_via_project, is_via_table, read_via_project, read_via_table
from re2tal.labels.formats.via2 import is_via2_json, is_via2_table, read_via2_json, read_via2_table
from re2tal.labels.records import Reading, ReadOptions, SourceError

__all__ = ["KNOWN", "LabelFormat", "find_format"]


class LabelFormat(Protocol):
    """A format of label files; one of your own is a class without arguments, or an object, in a file of your own."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of its files, such as ".txt": in a folder, files with these are looked at."""

    def recognises(self, file: SourceFile) -> bool:
        """Whether the content of a file is of this format."""

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        """The annotations in a file.

        Raises:
            SourceError: it cannot be read, and why.
        """


@dataclass(frozen=True)
class _Known:
    """One of the formats below."""

    name: str
    view: Literal["xml", "json", "text", "head"]
    """How its content is looked at."""
    is_of_it: Callable[[Any], bool]
    """Whether a content is of this format; never, where nothing but its name tells."""
    reader: Callable[[SourceFile, ReadOptions], Reading]
    shown_by: str = ""
    """What a file must have to be read as this format; of the others, the reader itself says what is lacking."""
    suffixes: tuple[str, ...] = ()
    """Those of all formats of the package are looked at, see `read_sources`."""

    def can_be(self, file: SourceFile) -> bool:
        """Whether the file has such a content at all."""
        if file.sheet is not None:
            return self.view == "head"
        return self.view == "xml" or (self.view == "json") == (file.json is not None)

    def recognises(self, file: SourceFile) -> bool:
        if (self.view == "xml") != (file.sheet is None and is_xml(file.raw)):
            return False
        return self.can_be(file) and self.is_of_it(getattr(file, self.view))

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        if self.shown_by and not self.is_of_it(getattr(file, self.view)):
            raise SourceError(f"{file.path} is not of {self.name}: it has no {self.shown_by}")
        return self.reader(file, options)


def find_format(file: SourceFile, *, name: str | None = None, own: LabelFormat | None = None) -> LabelFormat:
    """The format of a file.

    Args:
        file: see there.
        name: of the format, if it need not be recognised.
        own: a format that is compared with before all others.

    Raises:
        SourceError: it is of no known format, or not of the one named; says what it is instead if that is known.
    """
    if own is not None and own.recognises(file):
        return own
    if name is not None:
        return _named(file, name)
    for known in KNOWN:
        if known.recognises(file):
            return known
    if file.sheet is None and is_xml(file.raw):
        if file.xml.tag == "View":
            raise SourceError(f"{file.path} is a labelling interface of Label Studio; its labels are exported as JSON")
        raise SourceError(
            f"{file.path} is XML of no known layout (its root is <{file.xml.tag[:40]}>); known are ELAN, CVAT and Anvil"
        )
    content = file.json
    if content is None:
        what = (None if file.sheet is not None else what_text_is(file.text)) or what_table_is(file.head)
        if what is not None:
            raise SourceError(f"{file.path} is {what}")
        return _CSV
    if (what := what_json_is(content)) is not None:
        raise SourceError(f"{file.path} is {what}")
    found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
    raise SourceError(
        f"{file.path} is JSON of no known layout ({found}); known are ActivityNet, detections, projects of BORIS and "
        "VIA, Label Studio, SoccerNet, Ego4D, CalMS21, MultiTHUMOS and Charades"
    )


def _named(file: SourceFile, name: str) -> LabelFormat:
    """The format that the user says it is; of several layouts the one that the content shows, else the last."""
    candidates = [known for known in (*KNOWN, _CSV) if known.name == name and known.can_be(file)]
    if candidates:
        return next((known for known in candidates if known.recognises(file)), candidates[-1])
    what = f"JSON, which {name} is not" if file.sheet is None and file.json is not None else f"no file of {name}"
    raise SourceError(f"{file.path} is {what}; leave --format out to have it recognised")


def _never(content: Any) -> bool:
    return False


def _as_thumos(name: str, file: SourceFile, options: ReadOptions) -> Reading:
    return read_thumos(file.path.parent, {file.path.name: file.text}, format_=name)


KNOWN = (
    _Known("elan", "xml", is_elan, read_elan, "root <ANNOTATION_DOCUMENT>"),
    _Known("cvat", "xml", is_cvat, read_cvat, "root <annotations>"),
    _Known("anvil", "xml", is_anvil, read_anvil, "root <annotation> with a head and a body"),
    _Known("boris", "json", is_boris_project, read_boris_project),
    _Known("via", "json", is_via_project, read_via_project),
    _Known("via2", "json", is_via2_json, read_via2_json, '"_via_img_metadata"'),
    _Known("label-studio", "json", is_label_studio, read_label_studio, "list of tasks with data and annotations"),
    _Known("ego4d", "json", is_ego4d, read_ego4d, '"videos" with a list of "clips"'),
    _Known("soccernet", "json", is_soccernet, read_soccernet, '"annotations" with a "gameTime"'),
    _Known("detections", "json", is_detections, read_detections, '"results" with a list for each video'),
    _Known("calms21", "json", is_calms21, read_calms21, 'groups of sequences with "keypoints" and "metadata"'),
    _Known("activitynet", "json", is_activitynet, read_activitynet),
    _Known("multithumos", "json", is_multithumos, partial(read_numbered, format_="multithumos")),
    _Known("charades", "json", is_numbered, partial(read_numbered, format_="charades")),
    _Known("via", "text", is_via_table, read_via_table),
    _Known("vtt", "text", is_vtt, read_subtitles),
    _Known("srt", "text", is_srt, read_subtitles),
    _Known("textgrid", "text", is_textgrid, read_textgrid, 'File type = "ooTextFile" at its beginning'),
    _Known("bento", "text", is_bento, read_bento, '"Bento annotation file" at its beginning'),
    _Known("audacity", "text", is_audacity, read_audacity),
    _Known("thumos", "text", _never, partial(_as_thumos, "thumos")),
    _Known("multithumos", "text", _never, partial(_as_thumos, "multithumos")),
    _Known("ethovision", "head", is_ethovision, read_ethovision),
    _Known("observer", "head", is_observer, read_observer),
    _Known("via2", "head", is_via2_table, read_via2_table, "columns filename, file_attributes and region_attributes"),
    _Known("boris", "head", lambda head: boris_header(head) is not None, read_boris_table),
    _Known("epic-kitchens", "head", is_epic_kitchens, read_epic_kitchens),
    _Known("charades", "head", is_charades, read_charades_table),
    _Known("ava", "head", is_ava, read_ava),
    _Known("per-frame", "head", lambda head: what_table_is(head) is None and is_per_frame(head), read_per_frame),
)
_CSV = _Known("csv", "head", lambda head: True, read_csv)
"""Any table that is of no other format."""
