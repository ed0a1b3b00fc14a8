"""Labels for class-agnostic detections, from a classifier of whole videos.

A detector of one class says when something happens. A classifier of whole videos says what: every segment is copied
once for each of the video's best classes, and its score multiplied by that of the class.

V videos, K classes, N segments.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt

from re2tal.common.annotation_files import AnnotationFileError, plain_ids, read_json
from re2tal.common.extension import Extensible, OneOf
from re2tal.common.types import Detections
from re2tal.common.untrusted import is_number, shown, some

__all__ = [
    "CuhkConfig",
    "SubmissionConfig",
    "TcanetConfig",
    "UntrimmedNetConfig",
    "VideoScores",
    "VideoLabelsConfig",
    "VideoScoresError",
    "VideoScoresSettings",
]


class VideoScoresSettings(Extensible):
    """The settings of the scores of any classifier of whole videos."""

    path: Path
    """What they are read from."""
    top: PositiveInt = 2
    """How many of a video's best classes every detection gets."""

    @abstractmethod
    def read(self) -> "VideoScores":
        """The best classes of every video.

        Raises:
            VideoScoresError: `path` is absent or not of this layout.
        """


class CuhkConfig(VideoScoresSettings):
    """CUHK's scores of ActivityNet-1.3, and InternVideo2's as OpenTAD converted them ("classes" for "class")."""

    kind: Literal["cuhk"] = "cuhk"
    """Names this layout in a file or on the command line."""
    path: Path
    """JSON: {"results": {id without v_: [score of each class]}, "class": [name of each class]}."""

    def read(self) -> "VideoScores":
        """Of a JSON file."""
        return _read_cuhk(self.path, top=self.top)


class TcanetConfig(VideoScoresSettings):
    """TCANet's scores of HACS: logits, of which twice the softmax counts, as in its published results."""

    kind: Literal["tcanet"] = "tcanet"
    """Names this layout in a file or on the command line."""
    path: Path
    """JSON: {"results": {id: [[logit of each class]]}, "class": [name of each class]}."""
    top: PositiveInt = 3
    """How many of a video's best classes every detection gets."""

    def read(self) -> "VideoScores":
        """Of a JSON file."""
        return _read_cuhk(self.path, top=self.top, logits=True)


class UntrimmedNetConfig(VideoScoresSettings):
    """UntrimmedNet's scores of THUMOS-14's test videos."""

    kind: Literal["untrimmednet"] = "untrimmednet"
    """Names this layout in a file or on the command line."""
    path: Path
    """NPY of (videos, 101) numbers: row i is video_test_(i+1), column j the class j+1 of UCF101 by alphabet."""

    def read(self) -> "VideoScores":
        """Of an NPY file."""
        return _read_untrimmednet(self.path, top=self.top)


class SubmissionConfig(VideoScoresSettings):
    """The scores of any classifier, in the layout of ActivityNet's classification submissions."""

    kind: Literal["submission"] = "submission"
    """Names this layout in a file or on the command line."""
    path: Path
    """JSON: {"results": {id without v_: [{"label", "score"}]}}."""
    top: PositiveInt = 2
    """How many of a video's best classes every detection gets, if the file has so many."""

    def read(self) -> "VideoScores":
        """Of a JSON file."""
        return _read_submission(self.path, top=self.top)


VideoLabelsConfig = Annotated[
    VideoScoresSettings, OneOf(CuhkConfig, TcanetConfig, UntrimmedNetConfig, SubmissionConfig)
]

_UCF101_CLASSES = 101
# Numbers of THUMOS-14's twenty classes among them, from 1, as the readme of its annotations gives them.
_THUMOS_CLASSES = {
    7: "BaseballPitch",
    9: "BasketballDunk",
    12: "Billiards",
    21: "CleanAndJerk",
    22: "CliffDiving",
    23: "CricketBowling",
    24: "CricketShot",
    26: "Diving",
    31: "FrisbeeCatch",
    33: "GolfSwing",
    36: "HammerThrow",
    40: "HighJump",
    45: "JavelinThrow",
    51: "LongJump",
    68: "PoleVault",
    79: "Shotput",
    85: "SoccerPenalty",
    92: "TennisSwing",
    93: "ThrowDiscus",
    97: "VolleyballSpiking",
}
_THUMOS_TEST_ID = "video_test_{:07d}"

_OPTION = "postprocess.video_labels"


class VideoScoresError(ValueError):
    """Scores of whole videos that cannot be used, or lack a video or class."""


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoScores:
    """The best classes of every video."""

    source: Path
    class_names: tuple[str, ...]
    """K names, in the order of the label indices."""
    best: dict[str, tuple[tuple[int, float], ...]]
    """By video id: label index and score of its best classes, best first."""

    def __repr__(self) -> str:
        return f"VideoScores({len(self.class_names)} classes, {len(self.best)} videos of {self.source})"

    def lacking(self, video_ids: Iterable[str]) -> list[str]:
        """Those of the videos that have no scores, each once."""
        return [video_id for video_id in dict.fromkeys(video_ids) if video_id not in self.best]

    def unknown(self, labels: Iterable[str]) -> list[str]:
        """Those of the labels that no video can get, sorted."""
        return sorted(set(labels) - set(self.class_names))

    def check(self, *, video_ids: Iterable[str], labels: Iterable[str]) -> None:
        """Refuse scores that do not fit the test videos.

        Args:
            video_ids: of the test videos; each needs scores.
            labels: of their actions. The classifier may know fewer classes or more, but if each side has names that
                the other lacks, they are written differently.
        """
        lacking = self.lacking(video_ids)
        if lacking:
            raise VideoScoresError(
                f"{self.source} has no class scores of {len(lacking)} test videos: {some(lacking)}; add their scores, "
                f"or list the videos in data.missing; it has ids like {next(iter(self.best), None)!r}"
            )
        labels = set(labels)
        unknown, unused = self.unknown(labels), set(self.class_names) - labels
        if unknown and unused:
            similar = get_close_matches(unknown[0], sorted(unused), n=1, cutoff=0.5)
            hint = f" (is {similar[0]!r} meant?)" if similar else ""
            raise VideoScoresError(
                f"{self.source} does not know {len(unknown)} of the annotated classes: {some(unknown)}{hint}; "
                "write the classes alike in both files"
            )

    def label(self, detections: Detections) -> Detections:
        """Copy every segment for each of its video's best classes; scores are multiplied; best first.

        Args:
            detections: of a class-agnostic detector, N segments.

        Returns:
            N segments times the number of best classes; labels are indices of `class_names`.
        """
        if detections.video_id not in self.best:
            self.check(video_ids=[detections.video_id], labels=())
        pairs = self.best[detections.video_id]
        count = len(detections.scores)
        scores = torch.cat([detections.scores * score for _, score in pairs] or [detections.scores[:0]])
        labels = torch.tensor([index for index, _ in pairs], dtype=torch.int64).repeat_interleave(count)
        order = scores.argsort(descending=True, stable=True)
        return Detections(
            video_id=detections.video_id,
            segments=detections.segments.repeat(len(pairs), 1)[order],
            scores=scores[order],
            labels=labels[order],
        )


def _read_cuhk(path: Path, *, top: int, logits: bool = False) -> VideoScores:
    content, results = _read_results(path, layout='{"results": {id: [scores]}, "class": [names]}')
    if logits:
        results = {name: row[0] if isinstance(row, list) and len(row) == 1 else row for name, row in results.items()}
    names = content.get("class", content.get("classes"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise VideoScoresError(f'{path} must hold the names of its classes under "class", got {shown(names)}')
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise VideoScoresError(f'{path}: "class" must name every class once, got twice: {some(twice)}')
    for video_id, scores in results.items():
        if not isinstance(scores, list) or len(scores) != len(names):
            found = f"{len(scores)} scores" if isinstance(scores, list) else shown(scores)
            raise VideoScoresError(
                f"{path}, video {video_id!r}: must have one score for each of the {len(names)} classes, got {found}"
            )
    try:
        table = np.array(list(results.values()), np.float64).reshape(len(results), len(names))
    except (TypeError, ValueError):
        raise VideoScoresError(f"{path}: every score must be a number; write the scores as numbers") from None
    if logits:
        table = np.exp(table - table.max(1, keepdims=True))
        table *= 2 / table.sum(1, keepdims=True)
    return _ranked(path, video_ids=list(results), table=table, class_names=tuple(names), top=top)


def _read_untrimmednet(path: Path, *, top: int) -> VideoScores:
    try:
        # Mapped, since a header may tell of an array that no memory holds and the file does not either.
        table = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise VideoScoresError(f"no class scores at {path}; set {_OPTION}.path to the file uNet_test.npy") from None
    except Exception as error:  # a header of anything makes numpy fail in any way
        raise VideoScoresError(f"{path} is not a readable NPY file of numbers: {error}") from None
    if table.ndim != 2 or table.shape[1] != _UCF101_CLASSES or table.dtype.kind not in "fiu":
        raise VideoScoresError(
            f"{path} must hold (videos, {_UCF101_CLASSES}) numbers, got {table.dtype} {table.shape}; use the file "
            "uNet_test.npy"
        )
    return _ranked(
        path,
        video_ids=[_THUMOS_TEST_ID.format(row + 1) for row in range(len(table))],
        table=table[:, [number - 1 for number in _THUMOS_CLASSES]].astype(np.float64),
        class_names=tuple(_THUMOS_CLASSES.values()),
        top=top,
    )


def _read_submission(path: Path, *, top: int) -> VideoScores:
    _, results = _read_results(path, layout='{"results": {id: [{"label", "score"}]}}')
    for video_id, rows in results.items():
        if not isinstance(rows, list) or not all(map(_is_labelled_score, rows)):
            raise VideoScoresError(
                f'{path}, video {video_id!r}: must have a list of {{"label": name, "score": number}} with finite '
                f"scores that are not negative, got {shown(rows)}"
            )
    names = tuple(sorted({row["label"] for rows in results.values() for row in rows}))
    index = {name: number for number, name in enumerate(names)}
    best = {}
    for video_id, rows in results.items():
        # A label that comes twice keeps its better score.
        scores = {row["label"]: row["score"] for row in sorted(rows, key=lambda row: row["score"])}
        ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
        best[video_id] = tuple((index[label], float(score)) for label, score in ranked[:top])
    return VideoScores(source=path, class_names=names, best=best)


def _ranked(
    path: Path, *, video_ids: Sequence[str], table: np.ndarray, class_names: tuple[str, ...], top: int
) -> VideoScores:
    """The best classes of a (V, K) table of scores."""
    if top > len(class_names):
        raise VideoScoresError(f"{_OPTION}.top must be at most the {len(class_names)} classes of {path}, got {top}")
    order = np.argsort(-table, axis=1, kind="stable")[:, :top]  # (V, top)
    scores = np.take_along_axis(table, order, axis=1)
    wrong = np.flatnonzero(~np.isfinite(table).all(1) | (scores < 0).any(1))
    if len(wrong):
        raise VideoScoresError(
            f"{path}, video {video_ids[wrong[0]]!r}: scores must be finite and the best not negative, since they are "
            f"multiplied, got {table[wrong[0]].min():g} to {table[wrong[0]].max():g} ({len(wrong)} such videos); "
            "turn logits into probabilities first"
        )
    best = {
        video_id: tuple(zip(labels, values, strict=True))
        for video_id, labels, values in zip(video_ids, order.tolist(), scores.tolist(), strict=True)
    }
    return VideoScores(source=path, class_names=class_names, best=best)


def _read_results(path: Path, *, layout: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole content of a JSON file, and its "results" by video id."""
    try:
        content = read_json(path, what="file of class scores", fix=f"set {_OPTION}.path to where it is")
    except AnnotationFileError as error:
        raise VideoScoresError(str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
        raise VideoScoresError(f"{path} must hold {layout}, got {found}; choose the right {_OPTION}.kind")
    return content, plain_ids(content["results"])


def _is_labelled_score(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("label"), str):
        return False
    score = row.get("score")
    return is_number(score) and score >= 0
