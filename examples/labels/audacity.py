"""Label tracks of Audacity, the editor of sound: one label a line, as start, end (seconds) and text between tabs.

re2tal import labels/ --videos videos --format examples/labels/audacity.py:AudacityLabels
"""

import re

from re2tal.labels import Media, Reading, ReadOptions, Record, SourceFile, Time

LINE = re.compile(r"(?P<start>\d+\.\d+)\t(?P<end>\d+\.\d+)\t(?P<label>[^\t]+)")


class AudacityLabels:
    """A track is named as its video: `day1.txt` is of day1.mp4."""

    suffixes = (".txt",)

    def recognises(self, file: SourceFile) -> bool:
        """Whether every line is a label."""
        return all(LINE.fullmatch(line) for line in file.text.splitlines() if line.strip())

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        """One annotation a line."""
        reading = Reading(path=file.path, format="audacity")
        for number, line in enumerate(file.text.splitlines(), start=1):
            if found := LINE.fullmatch(line):
                reading.records.append(
                    Record(
                        where=f"{file.path}, line {number}",
                        media=(Media(name=file.path.stem),),
                        start=Time(seconds=float(found["start"])),
                        end=Time(seconds=float(found["end"])),
                        fields={"label": found["label"]},
                    )
                )
        return reading
