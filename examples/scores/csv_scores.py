"""Scores of a classifier of whole videos from a table: video, label, score."""

import csv
from collections import defaultdict

from re2tal.detections import VideoScores, VideoScoresError, VideoScoresSettings


class CsvScoresConfig(VideoScoresSettings):
    """One score of one class of one video a row; `path` is the table, and `top` how many count."""

    def read(self) -> VideoScores:
        """The best classes of every video."""
        scores: dict[str, dict[str, float]] = defaultdict(dict)
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    scores[row["video"]][row["label"]] = float(row["score"])
        except (OSError, KeyError, ValueError) as error:
            raise VideoScoresError(f"{self.path} must have the columns video, label, score: {error!r}") from None
        names = sorted({label for found in scores.values() for label in found})
        best = {
            video: tuple((names.index(label), found[label]) for label in sorted(found, key=found.__getitem__)[::-1])
            for video, found in scores.items()
        }
        best = {video: ranked[: self.top] for video, ranked in best.items()}
        return VideoScores(source=self.path, class_names=tuple(names), best=best)
