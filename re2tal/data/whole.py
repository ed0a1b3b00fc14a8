"""A data set as a whole: its annotations, completed by what its files tell, and its clips."""

from re2tal.common.annotation_files import AnnotationFile
from re2tal.common.untrusted import UnsafeNameError
from re2tal.data.annotations import Annotations
from re2tal.data.config import DataSettings
from re2tal.data.features import read_features
from re2tal.video import VideoError, probe

__all__ = ["annotations_of", "as_file"]


def annotations_of(config: DataSettings) -> Annotations:
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

    return config.read_annotations(duration_of=duration_of)


def as_file(annotations: Annotations) -> AnnotationFile:
    """Annotations in the layout of a file, for the metric."""
    database = {
        video.video_id: {
            "subset": video.subset,
            "duration": video.duration_seconds,
            "frame": video.num_frames,
            **({} if video.labelled is None else {"labelled": [list(stretch) for stretch in video.labelled]}),
            "annotations": [
                {"segment": [action.start_seconds, action.end_seconds], "label": action.label}
                for action in video.actions
            ],
        }
        for video in annotations.videos
    }
    return AnnotationFile(path=annotations.path, database=database, tells_durations=True)
