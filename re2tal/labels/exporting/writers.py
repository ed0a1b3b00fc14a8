"""The formats that labels can be exported to, by the names that the command line knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from re2tal.labels.exporting.boris import BorisProject
from re2tal.labels.exporting.content import ExportContent, ExportVideo
from re2tal.labels.exporting.elan import ElanFile
from re2tal.labels.exporting.label_studio import LabelStudioTasks
from re2tal.labels.exporting.soccernet import SoccerNetFile
from re2tal.labels.exporting.table import LabelTable
from re2tal.labels.exporting.textgrid import TextGridFile
from re2tal.labels.exporting.tracks import AudacityTrack, SubRipFile, WebVttFile
from re2tal.labels.exporting.via3 import Via3Project

__all__ = ["WRITERS", "LabelWriter"]


class LabelWriter(Protocol):
    """A format to write; one of your own is a class without arguments, or an object, in a file of your own."""

    def file_of(self, video: ExportVideo) -> str:
        """The file, below the folder of the export, that a video goes into; several may share one."""

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The files to write, by path: `path` itself, and others beside it if need be.

        Args:
            content: the videos that go into `path`.
            path: of the file, to which paths of videos may be relative.

        Raises:
            ExportError: something that the format needs is not known.
        """


WRITERS: dict[str, LabelWriter] = {
    "boris": BorisProject(),
    "elan": ElanFile(),
    "via3": Via3Project(),
    "label-studio": LabelStudioTasks(),
    "audacity": AudacityTrack(),
    "srt": SubRipFile(),
    "vtt": WebVttFile(),
    "textgrid": TextGridFile(),
    "csv": LabelTable(),
    "soccernet": SoccerNetFile(),
}
