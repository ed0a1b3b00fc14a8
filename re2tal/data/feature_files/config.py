"""Features that others have extracted: which files hold them, and where in time each feature lies."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from re2tal.common.settings import Settings
from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError
from re2tal.data.annotations import Annotations
from re2tal.data.config import AnnotationFileSettings
from re2tal.data.feature_files.reading import SUFFIXES, read_shape
from re2tal.data.features import FeaturesError

__all__ = ["FeatureDataConfig", "FeatureFiles"]


class FeatureFiles(Settings):
    """The files of one network's features: an array of T features with C channels for each video."""

    path: Path
    """Folder with a file for each video; or one file of all videos, with a key for each: .npz, .h5, .hdf5 or .pt."""
    pattern: str = "{id}.npy"
    """Name of a video's file in the folder, with {id} for the video's id: .npy, .npz, .h5, .hdf5, .pt or .pth. Of no
    matter in one file of all videos."""
    key: str | None = None
    """Name of a video's array in a file that holds several, with {id} for the video's id, such as
    "{id}/c3d_features". None: the only array of the file; in one file of all videos, the id."""
    channels: PositiveInt
    """C."""
    time_first: bool = True
    """Arrays are (T, C); False: (C, T). Further axes of length 1 do not matter."""

    @property
    def is_archive(self) -> bool:
        """Whether all videos are in one file."""
        return self.path.suffix.lower() in SUFFIXES

    def key_of(self, video_id: str) -> str | None:
        """The name of a video's array in its file; None: that of the only one."""
        key = "{id}" if self.key is None and self.is_archive else self.key
        return None if key is None else key.replace("{id}", video_id)

    def length_in(self, shape: Sequence[int], *, where: str) -> int:
        """T of an array of this shape.

        Raises:
            FeaturesError: it is not of C channels in this layout.
        """
        sizes = tuple(shape) if len(shape) == 2 else tuple(size for size in shape if size != 1)
        if len(sizes) == 1:
            sizes = (1, *sizes) if self.time_first else (*sizes, 1)
        layout = "(T, C)" if self.time_first else "(C, T)"
        if len(sizes) != 2:
            raise FeaturesError(
                f"{where}: features must be {layout}, got an array of {tuple(shape)}; pool over the rest"
            )
        time, channels = sizes if self.time_first else sizes[::-1]
        if channels != self.channels:
            turned = time == self.channels
            fix = f"time_first={not self.time_first}" if turned else f"channels={channels}, and backbone.out_channels"
            raise FeaturesError(
                f"{where}: features must be {layout} with C = {self.channels} (data.files.channels), got "
                f"{tuple(shape)}; set data.files.{fix}"
            )
        if time == 0:
            raise FeaturesError(f"{where}: holds no features; list the video in data.missing")
        return time

    @model_validator(mode="after")
    def _names_tell_videos_apart(self) -> "FeatureFiles":
        if self.is_archive and self.key is not None and "{id}" not in self.key:
            raise ValueError(
                f'key must contain {{id}} where one file holds all videos, got {self.key!r}; "{{id}}" is the usual one'
            )
        if self.is_archive and self.path.suffix.lower() == ".npy":
            raise ValueError(f"path must be a folder, or a file with a key for each video, got {self.path}")
        if not self.is_archive and ("{id}" not in self.pattern or Path(self.pattern).suffix.lower() not in SUFFIXES):
            raise ValueError(
                f"pattern must contain {{id}} and end in one of {', '.join(SUFFIXES)}, got {self.pattern!r}; "
                '"{id}.npy" is the usual one'
            )
        return self


class FeatureDataConfig(AnnotationFileSettings):
    """A data set of an annotation file and of features that others have extracted; there need be no videos.

    Feature i is of the frames around frame `offset + i * stride` of its video. In windows, a step is a feature.
    """

    has_files: ClassVar[bool] = False

    kind: Literal["features"] = "features"
    """Names this kind of data set in a file or on the command line."""
    files: tuple[FeatureFiles, ...] = Field(min_length=1)
    """Where they are; channels of several are concatenated, such as those of two streams. Where their lengths differ by
    a few features, the longer ones are cut."""
    stride: PositiveInt
    """Frames from one feature to the next."""
    offset: float = Field(ge=0)
    """Frame in the middle of those that the first feature is of: half of the frames of a snippet, where the first
    snippet begins with the video; 0 where snippets were centred."""
    frame_rate: PositiveFloat | None = None
    """Frames per second that `stride` and `offset` count in. None: each video's own, as the annotations tell it by
    "frame" or "fps"."""
    length_tolerance: float = Field(default=0.1, gt=0)
    """How far the time that features cover may differ from the videos' durations, as a share of them, in the median: a
    wrong stride or frame rate is told so."""
    resize_crop: tuple[float, float] = (1.0, 1.0)
    """In training, a video that is resized to the clip (`sampling.kind="resize"`) is cropped to a random share in this
    range; an action stays if at least half of it does. (1, 1): it is not cropped."""

    @property
    def tests_one_by_one(self) -> bool:
        """Whole videos are of any length."""
        return self.test_whole

    def clip_bytes(self, *, channels: int) -> int:
        """Memory of one clip of training."""
        return 4 * channels * self.sampling.num_steps

    def frame_rate_of(self, video: AnnotatedVideo) -> float | None:
        """As the config or the annotations tell."""
        return self.frame_rate or super().frame_rate_of(video) or video.frame_rate

    def video_path(self, video_id: str) -> Path:
        """Of the first of its features."""
        return self.file_of(self.files[0], video_id)

    def file_of(self, files: FeatureFiles, video_id: str) -> Path:
        """Where the array of a video is expected.

        Raises:
            UnsafeNameError: that is not in the folder.
        """
        if files.is_archive:
            return files.path
        return self.path_in(files.path, files.pattern.replace("{id}", video_id), video_id=video_id)

    def read_annotations(self, *, duration_of: Callable[[str], float | None]) -> Annotations:
        """From the file; durations that it does not tell are those of the features, at `frame_rate`."""
        return super().read_annotations(duration_of=self._duration_of)

    def _duration_of(self, video_id: str) -> float | None:
        if self.frame_rate is None:
            return None
        files = self.files[0]
        try:
            path = self.file_of(files, video_id)
            length = files.length_in(read_shape(path, files.key_of(video_id)), where=str(path))
        except (FeaturesError, UnsafeNameError):
            return None
        return length * self.stride / self.frame_rate

    @field_validator("resize_crop")
    @classmethod
    def _check_resize_crop(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError(
                f"resize_crop must be (low, high) with 0 < low <= high <= 1, got {value}; (1, 1) = no crop"
            )
        return value

    @model_validator(mode="after")
    def _is_about_features(self) -> "FeatureDataConfig":
        if self.features is not None:
            raise ValueError(
                f"features is a folder that `re2tal extract` wrote from videos, got {self.features} beside files of "
                "others; set features=None, or use a DataConfig"
            )
        if self.negative_share:
            raise ValueError(
                f"negative_share is of clips that are cut from video files, got {self.negative_share:g}; set it to 0"
            )
        # A step is a feature: what `sampling` says of frames is of videos, and would make times wrong.
        steps = {"frames_per_step": 1} | ({"frame_stride": self.stride} if self.sampling.kind == "window" else {})
        self.__dict__["sampling"] = self.sampling.model_copy(update=steps)
        return self
