"""The annotations of a data set, completed by what its files tell."""

from re2tal.common.untrusted import UnsafeNameError
from re2tal.data.annotations import Annotations, read_annotations
from re2tal.data.config import DataConfig
from re2tal.data.features import read_features
from re2tal.video import VideoError, probe

__all__ = ["annotations_of"]


def annotations_of(config: DataConfig) -> Annotations:
    """The annotations of all subsets; lengths that they do not tell are those of the files."""

    def duration_of(video_id: str) -> float | None:
        try:
            path = config.input_path(video_id)
        except UnsafeNameError:  # an error where the video is to be used; other subsets may be
            return None
        try:
            return (probe(path) if config.features is None else read_features(path)).duration_seconds
        except (VideoError, OSError):
            return None

    return read_annotations(
        config.annotations,
        ignore_labels=config.ignore_labels,
        subset_file=config.subset_file,
        duration_of=duration_of,
    )
