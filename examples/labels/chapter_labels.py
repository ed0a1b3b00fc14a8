"""Chapters, as people type them below a video: a time and a name a line; each lasts until the next, the last line ends.

re2tal import labels/ --videos videos --format examples/labels/chapter_labels.py:Chapters
"""

import re
from itertools import pairwise

from re2tal.labels import Media, Reading, ReadOptions, Record, SourceFile, parse_time

LINE = re.compile(r"(?P<time>(?:\d+:)?\d+:\d\d) (?P<name>\S.*)")


class Chapters:
    """A file is named as its video: `day1.txt` is of day1.mp4."""

    suffixes = (".txt",)

    def recognises(self, file: SourceFile) -> bool:
        """Whether every line is a chapter."""
        return all(LINE.fullmatch(line) for line in file.text.splitlines() if line.strip())

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        """One annotation for each line but the last."""
        reading = Reading(path=file.path, format="chapters", listed={file.path.stem: None})
        found = [match for line in file.text.splitlines() if (match := LINE.fullmatch(line))]
        for chapter, following in pairwise(found):
            reading.records.append(
                Record(
                    where=f"{file.path}, {chapter[0]!r}",
                    media=(Media(name=file.path.stem),),
                    start=parse_time(chapter["time"]),
                    end=parse_time(following["time"]),
                    fields={"label": chapter["name"]},
                )
            )
        return reading
