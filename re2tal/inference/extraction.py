"""A backbone and videos -> its features of them, one file per video."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from re2tal import __version__
from re2tal.common.atomic import atomic_path
from re2tal.common.types import AnnotatedVideo
from re2tal.config import ExperimentConfig
from re2tal.data import (
    ClipStream,
    DataSettings,
    FeaturesError,
    ResizeSampling,
    annotations_of,
    batches_of,
    read_features,
)
from re2tal.data.annotations import read_ids, select_subset
from re2tal.data.config import FEATURES_SUFFIX
from re2tal.data.features import describe_input, write_features
from re2tal.inference.clips import compute_repeatably, made_ahead
from re2tal.inference.folder import identity_of
from re2tal.inference.inputs import VideoFile
from re2tal.inference.progress import VideoProgress
from re2tal.inference.sharing import WindowFeatures, tell_of_sharing
from re2tal.inference.stored import describe_network, hash_of_backbone
from re2tal.inference.videos import Outcome, for_every_video
from re2tal.networks.backbones import Backbone
from re2tal.training import Processes, autocast, chosen_precision

__all__ = ["DataSetVideos", "extract", "videos_of_data"]


@dataclass(frozen=True, kw_only=True)
class DataSetVideos:
    """The video files of a data set, and what its annotations say of each."""

    files: tuple[VideoFile, ...]
    annotated: Mapping[str, AnnotatedVideo]
    """By the id of the file."""


def videos_of_data(config: DataSettings) -> DataSetVideos:
    """The videos that an experiment trains and tests on, called as it looks for their features."""
    annotations = annotations_of(config.model_copy(update={"features": None}))
    missing = read_ids(config.missing)
    names = [config.train_subset, config.test_subset]
    videos = {
        video.video_id: video
        for subset in names
        for video in select_subset(annotations, subset)
        if video.video_id not in missing
    }
    files, annotated = [], {}
    for video in videos.values():
        path = config.video_path(video.video_id)
        name = config.file_name(video.video_id)
        files.append(VideoFile(video_id=name, path=path, num_bytes=path.stat().st_size if path.is_file() else 0))
        annotated[name] = video
    return DataSetVideos(files=tuple(files), annotated=annotated)


def extract(
    backbone: Backbone,
    videos: Sequence[VideoFile],
    *,
    config: ExperimentConfig,
    weights: Path | None,
    out: Path,
    annotated: Mapping[str, AnnotatedVideo] | None = None,
    processes: Processes,
    console: Console | None = None,
) -> Outcome:
    """Store what `backbone` makes of every clip of testing, as `out/<id>.safetensors`.

    Files that are there, of the same video, backbone and settings, are left as they are.

    Args:
        backbone: with its weights; moved to the device of `processes` and set to eval mode.
        videos: see `find_videos`.
        config: of the experiment; its sampling and sizes decide about the clips.
        weights: file that they are of, for the record.
        out: a folder.
        annotated: what a data set says of its videos, by id (see `ClipStream`).
        processes: among which the videos are shared out.
        console: for progress.
    """
    compute_repeatably()
    tell_of_sharing(backbone, config=config.data)
    extraction = _Extraction(
        backbone=backbone.to(processes.device).eval(),
        config=config,
        out=out,
        annotated=annotated or {},
        device=processes.device,
        about={
            "input": describe_input(config.data),
            "network": describe_network(config.backbone, backbone),
            "weights": str(weights),
            "weights_sha256": hash_of_backbone(backbone),
            "amp": chosen_precision(config.training.amp, device=processes.device),
            "device": processes.device.type,
            "config": config.model_dump(mode="json"),
            "re2tal": __version__,
        },
    )
    outcome = for_every_video(videos, extraction.work, is_done=extraction.is_done, processes=processes, console=console)
    if processes.is_main:
        outcome.write_skips(out)
    return outcome


@dataclass(frozen=True, kw_only=True)
class _Extraction:
    """What is the same for all videos."""

    backbone: Backbone
    config: ExperimentConfig
    out: Path
    annotated: Mapping[str, AnnotatedVideo]
    device: torch.device
    about: Mapping[str, Any]
    """What the files tell of how they were made."""

    def is_done(self, video: VideoFile) -> bool:
        """Whether an earlier call has stored the very features that this one would."""
        try:
            found = read_features(self._file_of(video)).about
        except FeaturesError:
            return False
        wanted = {name: self.about[name] for name in ("input", "network", "amp")} | {"source": self._source_of(video)}
        return all(found.get(name) == value for name, value in wanted.items())

    def work(self, video: VideoFile, progress: VideoProgress) -> None:
        """Store the features of one video."""
        stream = ClipStream(
            video.path,
            video_id=video.video_id,
            config=self.config.data,
            annotated=self.annotated.get(video.video_id),
        )

        def clips() -> Iterator[Tensor]:
            for number, features in enumerate(self._features_of(stream), start=1):
                yield features
                progress.clip(video, number, len(stream))

        with atomic_path(self._file_of(video)) as unfinished, unfinished.open("wb") as file:
            write_features(
                file,
                clips(),
                starts=[place.start_step for place in stream.places],
                channels=self.backbone.out_channels,
                length=self.config.data.sampling.num_steps,
                about={**self.about, **_time_of(stream, config=self.config.data), "source": self._source_of(video)},
            )

    def _features_of(self, stream: ClipStream) -> Iterator[Tensor]:
        """(C, S) float32 of every clip."""
        size = max(self.config.training.batch_size // self.config.training.accumulate, 1)
        features = WindowFeatures(self.backbone, device=self.device)
        for batch in made_ahead(batches_of(stream, size=size)):
            with torch.no_grad(), autocast(self.config.training.amp, device=self.device):
                yield from batch.features_by(features.of).features.float().cpu()

    def _source_of(self, video: VideoFile) -> dict[str, Any]:
        told = self.annotated.get(video.video_id)
        return {
            "file": str(video.path),
            "annotated": None if told is None else [told.num_frames, told.duration_seconds],
            **identity_of(video, fingerprint=self.about["weights_sha256"]),
        }

    def _file_of(self, video: VideoFile) -> Path:
        return self.out / f"{video.video_id}{FEATURES_SUFFIX}"


def _time_of(stream: ClipStream, *, config: DataSettings) -> dict[str, Any]:
    """Where steps lie in time, for whoever reads the file."""
    sampling, duration = config.sampling, stream.video.duration_seconds
    if isinstance(sampling, ResizeSampling):
        steps, frames_in_step = sampling.num_steps, stream.info.num_frames / sampling.num_steps
        seconds_per_step = duration / sampling.num_steps
    else:
        counted = stream.video.num_frames or stream.info.num_frames
        steps, frames_in_step = -(-counted // sampling.frames_in_step), sampling.frames_in_step
        seconds_per_step = sampling.frames_in_step * duration / counted
    return {
        "num_frames": stream.info.num_frames,
        "duration_seconds": duration,
        "num_steps": steps,
        "stride": frames_in_step,
        "seconds_per_step": seconds_per_step,
    }
