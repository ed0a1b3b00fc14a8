"""From an experiment's config to a report on its data: annotations, lists, classifier, weights, video files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any, Literal, TypeVar

from re2tal.common.labelled import LabelledTime
from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError, some
from re2tal.config import ExperimentConfig
from re2tal.data import (
    AnnotationError,
    Annotations,
    DataSettings,
    FeatureDataConfig,
    find_class_names,
    read_features,
)
from re2tal.data.annotations import read_ids, select_subset
from re2tal.data.check import Decode, Finding, Severity, check_videos
from re2tal.data.class_lengths import misfits
from re2tal.data.feature_files import check_features
from re2tal.data.negatives import require_negatives
from re2tal.data.training_set import select_actions, select_empty
from re2tal.data.whole import annotations_of
from re2tal.detections.video_scores import VideoLabelsConfig
from re2tal.evaluation import read_blocked
from re2tal.experiments.checking.report import DataReport, SubsetCounts, order_of_kind
from re2tal.networks.backbones import BackboneConfig
from re2tal.video import VideoError, probe
from re2tal.weights import read_weights

__all__ = ["check_data"]

_T = TypeVar("_T")

_TRIED = 5
"""Videos that are opened to learn a frame rate which the annotations do not tell."""


@dataclass(kw_only=True)
class _Findings:
    """What has been found so far."""

    found: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, what: str, detail: str, **where: Any) -> None:
        self.found.append(Finding(severity=severity, what=what, detail=detail, **where))

    def try_to(self, what: str, act: Callable[[], _T]) -> _T | None:
        """What `act` gives; None if it refuses, which is an error of the kind `what`."""
        try:
            return act()
        except ValueError as error:
            self.add("error", what, str(error))
            return None


@dataclass(kw_only=True)
class _Subset:
    """The videos that a run trains on, or those it tests on."""

    role: Literal["training", "testing"]
    videos: tuple[AnnotatedVideo, ...] = ()
    listed_missing: int = 0
    blocked: int = 0
    to_check: tuple[AnnotatedVideo, ...] = ()
    """Neither listed missing nor blocked: a run needs their files."""
    unusable: frozenset[str] = frozenset()

    def counts(self) -> SubsetCounts:
        time = sum((video.time for video in self.videos), LabelledTime())
        return SubsetCounts(
            annotated=len(self.videos),
            with_actions=sum(bool(video.actions) for video in self.videos),
            actions=sum(len(video.actions) for video in self.videos),
            listed_missing=self.listed_missing,
            **{f"{name}_minutes": round(value, 1) for name, value in time.as_json().items()},
            blocked=self.blocked,
            to_check=len(self.to_check),
            unusable=len(self.unusable),
        )


def check_data(
    config: ExperimentConfig,
    *,
    decode: Decode = "ends",
    jobs: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> DataReport:
    """Look at everything that a run reads, and go on whatever is found.

    Args:
        config: of the experiment.
        decode: how much of every video is decoded.
        jobs: videos checked at a time.
        tell: called with how many videos are done, and of how many.
    """
    findings = _Findings()
    _check_pretrained(config.backbone, findings=findings)
    data = config.data
    missing = findings.try_to("missing list", lambda: read_ids(data.missing)) or frozenset()
    blocked = findings.try_to("blocked list", lambda: read_blocked(config.evaluation.blocked)) or frozenset()
    annotations = findings.try_to("annotations", lambda: annotations_of(data))
    training, testing = _Subset(role="training"), _Subset(role="testing")
    num_classes = None
    if annotations is not None:
        _choose(training, data.train_subset, annotations=annotations, missing=missing, findings=findings)
        _choose(testing, data.test_subset, annotations=annotations, missing=missing, blocked=blocked, findings=findings)
        _check_annotations(annotations, subsets=(training, testing), findings=findings)
        _check_lists(annotations, missing=missing, blocked=blocked, testing=testing, data=data, findings=findings)
        _check_lengths(training, data=data, findings=findings)
        num_classes = _check_classes(annotations, training=training, data=data, findings=findings)
    _check_video_labels(config.postprocess.video_labels, testing=testing, findings=findings)
    about_files = _check_files((training, testing), data=data, decode=decode, jobs=jobs, tell=tell)
    found = [*findings.found, *_without_what_training_bears(about_files, training=training, data=data)]
    return DataReport(
        decode=decode,
        num_classes=num_classes,
        subsets={"training": training.counts(), "testing": testing.counts()},
        findings=tuple(sorted(found, key=lambda item: (*order_of_kind(item), item.video_id or ""))),
        unusable=tuple(sorted(missing | training.unusable | testing.unusable)),
    )


def _check_pretrained(backbone: BackboneConfig, *, findings: _Findings) -> None:
    path = backbone.pretrained
    if path is not None and not path.is_file():
        detail = f"there is no file {path}; put the weights there or set backbone.pretrained, None for fresh weights"
        findings.add("error", "pretrained weights", detail)
    elif path is not None:
        findings.try_to("pretrained weights", lambda: read_weights(path, kind=backbone.weight_names))


def _choose(
    subset: _Subset,
    names: str | tuple[str, ...],
    *,
    annotations: Annotations,
    missing: frozenset[str],
    blocked: frozenset[str] = frozenset(),
    findings: _Findings,
) -> None:
    """Fill in the videos of a subset and what keeps some of them out of a run."""
    subset.videos = findings.try_to("subset", lambda: select_subset(annotations, names)) or ()
    subset.listed_missing = sum(video.video_id in missing for video in subset.videos)
    subset.blocked = sum(video.video_id in blocked for video in subset.videos)
    subset.to_check = tuple(video for video in subset.videos if video.video_id not in missing | blocked)
    if subset.videos and not subset.to_check:
        findings.add(
            "error", "subset", "every video is listed missing or blocked; correct the lists", subset=subset.role
        )
    if subset.role == "testing" and subset.to_check and not any(video.actions for video in subset.to_check):
        findings.add(
            "error",
            "no actions",
            f"no video of {names!r} shows an action, so that the first evaluation would stop a run; annotate some, "
            "choose another subset, or look at data.ignore_labels",
            subset=subset.role,
        )
    not_counted = missing - blocked
    lost = [video.video_id for video in subset.videos if video.video_id in not_counted]
    if lost and subset.role == "testing":
        detail = f"{len(lost)} test videos in data.missing still count in the metric, as videos without detections"
        findings.add("note", "missing in testing", f"{detail}: {some(lost)}", subset=subset.role)


def _check_annotations(annotations: Annotations, *, subsets: Sequence[_Subset], findings: _Findings) -> None:
    """What was repaired, by kind."""
    role_of = {video.video_id: subset.role for subset in subsets for video in subset.videos}
    for problem in annotations.problems:
        findings.add(
            "warning" if problem.kind == "without duration" else "note",
            f"annotation {problem.kind}",
            problem.detail,
            video_id=problem.video_id,
            subset=role_of.get(problem.video_id),
        )


def _check_lists(
    annotations: Annotations,
    *,
    missing: frozenset[str],
    blocked: frozenset[str],
    testing: _Subset,
    data: DataSettings,
    findings: _Findings,
) -> None:
    """Ids that have no effect, and files that are there though they are listed missing."""
    annotated = {video.video_id for video in annotations.videos}
    tested = {video.video_id for video in testing.videos}
    for what, listed, known in (("missing", missing, annotated), ("blocked", blocked, tested)):
        without_effect = sorted(listed - known)
        if without_effect:
            videos = "annotated" if what == "missing" else "test"
            detail = f"{len(without_effect)} of {len(listed)} {what} ids are of no {videos} video"
            findings.add("note", f"{what} list", f"{detail}: {some(without_effect)}")
    for video_id in sorted(missing & annotated - blocked):
        if _is_there(data, video_id):
            findings.add("note", "listed but there", "is in data.missing, though its file is there", video_id=video_id)


def _is_there(data: DataSettings, video_id: str) -> bool:
    try:
        return data.video_path(video_id).is_file()
    except UnsafeNameError:  # one reason to list it
        return False


def _check_classes(
    annotations: Annotations, *, training: _Subset, data: DataSettings, findings: _Findings
) -> int | None:
    """The number of classes the network tells apart."""
    if data.class_agnostic:
        return 1
    names = findings.try_to(
        "class list", lambda: find_class_names(annotations, classes=data.classes, num_classes=data.num_classes)
    )
    if names is None:
        return None
    shown = {action.label for video in training.to_check for action in video.actions}
    for name in names if training.to_check else ():
        if name not in shown:
            findings.add("warning", "untrained class", f"no training video shows {name!r}", subset="training")
    return len(names)


def _check_lengths(training: _Subset, *, data: DataSettings, findings: _Findings) -> None:
    rates = [rate for video in training.to_check if (rate := data.frame_rate_of(video))]
    fps = median(rates) if rates else _rate_of(training.to_check, data)
    if fps is None and data.sampling.kind == "window":
        return
    for told in misfits(training.to_check, data.sampling, fps=fps or 1.0):
        findings.add("warning", "class of another scale", told, subset=training.role)


def _rate_of(videos: Sequence[AnnotatedVideo], data: DataSettings) -> float | None:
    """Frames per second of the first file that can be read; None if none of a few can."""
    for video in videos[:_TRIED] if data.has_files else ():
        try:
            return probe(data.video_path(video.video_id)).fps
        except (VideoError, OSError, UnsafeNameError):
            continue
    return None


def _check_video_labels(config: VideoLabelsConfig | None, *, testing: _Subset, findings: _Findings) -> None:
    if config is None:
        return
    labels = findings.try_to("class scores", config.read)
    if labels is None:
        return
    for video_id in labels.lacking(video.video_id for video in testing.to_check):
        findings.add(
            "error", "no class scores", f"{labels.source} lacks the video", video_id=video_id, subset="testing"
        )
    annotated = {action.label for video in testing.to_check for action in video.actions}
    before = len(findings.found)
    findings.try_to("class names", lambda: labels.check(video_ids=(), labels=annotated))
    for name in labels.unknown(annotated) if len(findings.found) == before else ():
        findings.add("warning", "class names", f"{labels.source} does not know the annotated class {name!r}")


def _check_files(
    subsets: Sequence[_Subset], *, data: DataSettings, decode: Decode, jobs: int, tell: Callable[[int, int], None]
) -> list[Finding]:
    """Findings on the files; those that cannot be used are noted in `subsets`."""
    videos = {video.video_id: video for subset in subsets for video in subset.to_check}
    by_id: dict[str, list[Finding]] = {}
    found: list[Finding] = []
    if isinstance(data, FeatureDataConfig):
        by_id, found = check_features(tuple(videos.values()), config=data, decode=decode, tell=tell)
    elif not data.has_files:
        return []
    else:
        for video_id, findings in check_videos(tuple(videos.values()), config=data, decode=decode, jobs=jobs):
            by_id[video_id] = findings
            tell(len(by_id), len(videos))
    for subset in subsets:
        own = [replace(finding, subset=subset.role) for video in subset.to_check for finding in by_id[video.video_id]]
        subset.unusable = frozenset(str(finding.video_id) for finding in own if finding.severity == "error")
        found += own
    return found


def _without_what_training_bears(
    findings: Sequence[Finding], *, training: _Subset, data: DataSettings
) -> Iterator[Finding]:
    """Broken training videos as warnings, as long as a run goes on without them. Files that are absent or in other
    places than they may be, and features of another layout, always stop it."""

    def is_broken(finding: Finding) -> bool:
        told = finding.subset == "training" and finding.severity == "error"
        return told and finding.what not in ("file absent", "file elsewhere", "unusable features")

    try:
        chosen = (*select_actions(training.to_check, data), *select_empty(training.to_check, data))
        trained = {video.video_id for video in chosen}
    except AnnotationError as error:
        trained = set()
        if training.to_check:
            yield Finding(severity="error", what="no actions", detail=str(error), subset="training")
    if data.negative_share and trained:
        try:
            require_negatives(training.to_check, config=data, count_frames=partial(_count_frames, data=data))
        except AnnotationError as error:
            yield Finding(severity="error", what="no negatives", detail=str(error), subset="training")
    num_broken = len({finding.video_id for finding in findings if is_broken(finding)} & trained)
    is_bearable = num_broken <= data.max_broken_share * len(trained)
    for finding in findings:
        if is_broken(finding) and (is_bearable or finding.video_id not in trained):
            yield replace(finding, severity="warning", detail=f"{finding.detail} (training goes on without it)")
        else:
            yield finding


def _count_frames(video: AnnotatedVideo, *, data: DataSettings) -> int | None:
    """None of a video that cannot be used."""
    if video.num_frames is not None or not data.has_files:
        return video.num_frames
    try:
        path = data.input_path(video.video_id)
        return probe(path).num_frames if data.features is None else read_features(path).num_frames
    except (VideoError, UnsafeNameError, OSError):
        return None
