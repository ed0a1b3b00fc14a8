"""The test videos of an experiment, shared by the processes, and the metric on them."""

import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from torch import nn

from re2tal.common.atomic import atomic_text
from re2tal.common.types import Detections
from re2tal.common.untrusted import some
from re2tal.config import ExperimentConfig
from re2tal.data import (
    AnnotationError,
    Annotations,
    DataSettings,
    annotations_of,
    as_file,
    testing_clips,
)
from re2tal.data.annotations import select_subset
from re2tal.evaluation import (
    GroundTruth,
    PrecisionResult,
    Predictions,
    mean_average_precision,
    read_blocked,
    read_ground_truth,
    spotting_precision,
)
from re2tal.experiments.loading import load_tests
from re2tal.inference import ClipDetector
from re2tal.report import timeline_pictures
from re2tal.training import (
    Processes,
    TensorBoardLogger,
    log,
)
from re2tal.video import UnreadableVideoError, fault_of

__all__ = ["Tester"]


class Tester:
    """The test videos of an experiment, shared by the processes, and the metric on them."""

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        processes: Processes,
        annotations: Annotations | None = None,
        tensorboard: TensorBoardLogger | None = None,
    ) -> None:
        """
        Args:
            config: see there.
            processes: that share the clips.
            annotations: those of the config, where they have been read already.
            tensorboard: gets pictures of what `evaluate` finds.
        """
        self.config = config
        self.processes = processes
        self._tensorboard = tensorboard
        # Blocked videos do not count, so they need neither file nor class scores.
        blocked = read_blocked(config.evaluation.blocked)
        annotations = annotations or annotations_of(config.data)
        if unknown := _num_uncounted(annotations, config.data):
            log.info('counting the frames of %d test videos, since the annotations do not ("frame")', unknown)
        self.clips = testing_clips(config.data, leave_out=blocked, annotations=annotations)
        self._truth = config.data.read_truth() or as_file(annotations)
        self.class_names = self.clips.class_names
        """That the network tells apart."""
        chosen = config.postprocess.video_labels
        self.video_labels = None if chosen is None else chosen.read()
        if self.video_labels is not None:
            self.video_labels.check(video_ids=self.clips.video_ids, labels=self.clips.labels)
        self.detected_names = self.class_names if self.video_labels is None else self.video_labels.class_names
        """Of the labels of detections."""
        self.loader = load_tests(self.clips, config, processes=processes)

    def detect(self, model: nn.Module) -> list[Detections]:
        """What `model` finds, one item per video, on every process."""
        detector = ClipDetector(
            model,
            config=self.config,
            device=self.processes.device,
            video_labels=self.video_labels,
            runs=max(self.loader.num_workers, 1),
            num_windows=Counter(self.clips.video_ids) if self.config.data.test_whole else None,
        )
        found: dict[int, Detections] = {}
        places = {video_id: place for place, video_id in enumerate(dict.fromkeys(self.clips.video_ids))}
        for number, batch in self.loader:
            for place, clip in enumerate(detector.in_batch(batch), start=number):
                # A whole video comes with whichever of its windows is the last.
                found[places[clip.video_id] if self.config.data.test_whole else place] = clip
        clips = self.processes.gather([found[number] for number in sorted(found)])
        # Clips of a video are neighbours, and gathering keeps their order.
        videos = [list(windows) for _, windows in groupby(clips, key=lambda window: window.video_id)]
        share = self.processes.share(len(videos))
        return self.processes.gather([detector.in_video(videos[number]) for number in share])

    def measure(self, detections: Iterable[Detections]) -> PrecisionResult:
        """Mean average precision against the annotations of the test subset; of point events, at tolerances in time.

        Class-agnostic detections that no classifier has labelled are measured as what they are: all actions are of
        one class.
        """
        found = Predictions.from_detections(detections, class_names=self.detected_names)
        evaluation = self.config.evaluation
        if self.config.postprocess.point_seconds is None:
            return mean_average_precision(
                self.truth(),
                found,
                tious=evaluation.tious,
                recall_multiples=evaluation.recall_multiples,
                average_recall_at=evaluation.average_recall_at,
            )
        return spotting_precision(
            self.truth(), found, tolerances=evaluation.tolerances, frame_rate=evaluation.frame_rate
        )

    def truth(self) -> GroundTruth:
        """The actions of the test subset, as the metric counts them."""
        data, evaluation = self.config.data, self.config.evaluation
        return read_ground_truth(
            self._truth,
            subset=data.test_subset,
            blocked=evaluation.blocked,
            ignore_labels=data.ignore_labels,
            one_class=self.class_names[0] if data.class_agnostic and self.video_labels is None else None,
            point_seconds=data.point_seconds if self.config.postprocess.point_seconds is None else 0.0,
        )

    def require_actions(self) -> None:
        """Refuse test videos without any action: the first evaluation would stop the run, after hours.

        Raises:
            AnnotationError: there is none that counts.
        """
        if len(self.truth().segments) == 0:
            subset = self.config.data.test_subset
            raise AnnotationError(
                f"no video of data.test_subset {subset!r} shows an action that counts, so nothing can be evaluated; "
                "annotate some, choose another subset, look at data.ignore_labels, or train with --not_eval"
            )

    def require_files(self) -> None:
        """Refuse test videos that cannot be opened, of which the first evaluation would tell, after hours.

        Raises:
            UnreadableVideoError: there are some; each process looks at its share.
        """
        data, ids = self.config.data, sorted(set(self.clips.video_ids))
        if data.features is not None or not data.has_files:
            return
        own = [ids[number] for number in self.processes.share(len(ids))]
        with ThreadPoolExecutor() as pool:
            faults = dict(zip(own, pool.map(fault_of, map(data.input_path, own)), strict=True))
        broken = {video_id: fault for video_id, fault in faults.items() if fault is not None}
        if broken:
            raise UnreadableVideoError(
                f"{len(broken)} of {len(ids)} test videos cannot be read, so nothing could be evaluated: "
                f"{next(iter(broken.values()))}. Or list their ids in data.missing ({some(broken)}): they then count "
                "as videos without detections"
            )

    def write_truth(self, path: Path) -> None:
        """Keep annotations that come from no file, for `re2tal report`, `evaluate` and `diagnose`."""
        if self.config.data.read_truth() is None:
            with atomic_text(path) as file:
                file.write(json.dumps({"database": dict(self._truth.database)}) + "\n")

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The metric of a model in training."""
        detections = self.detect(model)
        metrics = self.measure(detections).metrics
        if self._tensorboard is not None:
            found = Predictions.from_detections(detections, class_names=self.detected_names)
            self._tensorboard.write_pictures(timeline_pictures(self.truth(), found))
        log.info("%s", "  ".join(f"{name} {100 * value:.2f} %" for name, value in metrics.items()))
        return metrics


def _num_uncounted(annotations: Annotations, config: DataSettings) -> int:
    """Test videos that have to be opened before anything else, to learn how many windows they have."""
    if config.sampling.kind == "resize" or config.features is not None or not config.has_files:
        return 0
    return sum(video.num_frames is None for video in select_subset(annotations, config.test_subset))
