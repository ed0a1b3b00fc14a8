"""What to train and test on: annotation file, videos, and how clips are cut from them."""

from abc import abstractmethod
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from re2tal.common.annotation_files import AnnotationFile, read_annotation_file
from re2tal.common.extension import Extensible
from re2tal.common.settings import Settings
from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError, path_inside, shown
from re2tal.data.annotations import Annotations, read_annotations
from re2tal.data.interface import TestingClips, TrainingClips
from re2tal.video import AugmentSettings

__all__ = [
    "FEATURES_SUFFIX",
    "AnnotationFileSettings",
    "DataConfig",
    "DataSettings",
    "ResizeSampling",
    "Sampling",
    "WindowSampling",
]

FEATURES_SUFFIX = ".safetensors"
"""Ends the names of files with a video's features."""


class WindowSampling(Settings):
    """Clips are windows of fixed length at the video's own speed, for videos longer than a clip.

    One step of the detector covers `frames_per_step * frame_stride` frames of the file; a clip has
    `num_steps * frames_per_step` frames.
    """

    kind: Literal["window"] = "window"
    """Names this way of sampling in a file or on the command line."""
    num_steps: int = Field(default=512, ge=1)
    """Steps of one window."""
    frames_per_step: int = Field(default=2, ge=1)
    """Frames given to the backbone for one step."""
    frame_stride: int = Field(default=2, ge=1)
    """Every how many frames of the file one is taken."""
    test_overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one repeats in testing."""
    min_inside: float = Field(default=0.75, gt=0, le=1)
    """An action belongs to a window if at least this share of it lies inside; it is clipped to the window."""
    crop_ratio: tuple[float, float] = (0.9, 1.0)
    """In training, a video shorter than the window is cropped to a random share in this range."""
    train_starts: Literal["any", "test"] = "any"
    """Where training windows begin: at any sampled frame, or where the windows of testing do. Stored features are those
    of testing's windows, so with `data.features` it is "test" whatever is said here."""

    @property
    def frames_in_step(self) -> int:
        """Frames of the file from one step to the next."""
        return self.frames_per_step * self.frame_stride

    @field_validator("crop_ratio")
    @classmethod
    def _check_crop_ratio(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError(f"crop_ratio must be (low, high) with 0 < low <= high <= 1, got {value}; (1, 1) = no crop")
        return value


class ResizeSampling(Settings):
    """One clip is the whole video, its frames taken at even distances."""

    kind: Literal["resize"] = "resize"
    """Names this way of sampling in a file or on the command line."""
    num_steps: int = Field(default=192, ge=1)
    """Steps that a video is resized to."""
    frames_per_step: int = Field(default=4, ge=1)
    """Frames given to the backbone for one step."""
    min_share: float = Field(default=0.01, ge=0, lt=1)
    """Training leaves out actions that cover no more than this share of their video."""


Sampling = Annotated[WindowSampling | ResizeSampling, Field(discriminator="kind")]


class DataSettings(Extensible):
    """A data set of any kind: how clips are cut from its videos; a class for each kind says where these are.

    A class whose clips are not cut from video files overrides `training_clips` and `testing_clips`, and says so.
    """

    has_files: ClassVar[bool] = True
    """Whether there are video files, to be counted and checked."""

    allow_links: bool = False
    """Whether links in the folders of videos and features may lead out of them. Names of videos come from the
    annotations, which may be of others: only allow it where you have made the links yourself."""
    features: Path | None = None
    """Folder of features that `re2tal extract` stored, read in place of the videos; the backbone must be frozen. Clips
    are then not augmented. None: from pixels."""
    classes: Path | None = None
    """Class names, one per line, in the order of their indices; None: `category_idx.txt` beside the annotations if it
    is there, else the annotated labels, sorted."""
    num_classes: int | None = Field(default=None, ge=1)
    """How many classes the data must have, so that the network's size is known without it; None: any number."""
    class_agnostic: bool = False
    """Train one class, "action", whatever the labels say."""
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    """Annotations with these labels are left out."""
    point_seconds: float | None = Field(default=None, gt=0)
    """Point events, annotations that end where they start, are trained on as segments of so many seconds around them.
    None: they are left out."""
    train_subset: str | tuple[str, ...] = "training"
    """Subset to train on; several names if files of different origin name it differently."""
    test_subset: str | tuple[str, ...] = "validation"
    """Subset to test on."""
    missing: Path | tuple[str, ...] | None = None
    """Videos known to be absent from the folder: ids, or a text file with one id per line.
    They are neither trained nor tested on, and still count in the metric."""
    max_broken_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without videos that cannot be decoded, up to this share of them."""
    sampling: Sampling = WindowSampling()
    """How clips are cut from videos."""
    test_whole: bool = False
    """Test on whole videos instead of on windows, however long they are: the features of all windows of a video, each
    step's from the window in whose middle it most nearly lies, go through pyramid and head at once, and nothing is
    merged. Frames are never in memory for longer than a window."""
    short_side_train: int = Field(default=256, ge=1)
    """Training frames are resized to this short side before augmentation."""
    short_side_test: int = Field(default=224, ge=1)
    """Test frames are resized to this short side before the centre crop."""
    crop_size: tuple[int, int] = (224, 224)
    """(height, width) of the frames that the network sees."""
    negative_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training clips that is drawn, evenly over time, from what is known to show no action: videos without
    annotations and stretches between them, where they are labelled. 0: every clip is of a video with an action, and a
    window shows one if it can."""
    cache_mib: int = Field(default=0, ge=0)
    """Memory for decoded frames of each data set, so that a small one is decoded once and not once per epoch; 0: none.
    Loader workers get equal shares of it. Videos that no longer fit are decoded every time."""

    @field_validator("crop_size")
    @classmethod
    def _check_crop_size(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 1:
            raise ValueError(f"crop_size must be (height, width) of at least one pixel, got {value}")
        return value

    @model_validator(mode="after")
    def _check_crop_fits(self) -> "DataSettings":
        if min(self.crop_size) > self.short_side_test:
            raise ValueError(
                f"crop_size must fit into test frames, whose short side is short_side_test = {self.short_side_test}, "
                f"got {self.crop_size}; lower crop_size or raise short_side_test"
            )
        return self

    @model_validator(mode="after")
    def _whole_videos_are_made_of_windows(self) -> "DataSettings":
        if self.test_whole and not isinstance(self.sampling, WindowSampling):
            raise ValueError(
                "test_whole is for windows, and sampling.kind=resize tests whole videos anyway; leave it out"
            )
        return self

    @property
    def tests_one_by_one(self) -> bool:
        """Whether clips of testing differ in length, so that they make no batches."""
        return False

    @property
    def train_sampling(self) -> Sampling:
        """How training clips are cut: as `sampling` says, but stored features know the windows of testing alone."""
        if self.features is None or self.sampling.kind == "resize":
            return self.sampling
        return self.sampling.model_copy(update={"train_starts": "test"})

    def clip_bytes(self, *, channels: int) -> int:
        """Memory of one clip: of its frames or, with `features`, of those, which have so many channels."""
        if self.features is not None:
            return 4 * channels * self.sampling.num_steps
        height, width = self.crop_size
        return 3 * height * width * self.sampling.num_steps * self.sampling.frames_per_step

    @abstractmethod
    def read_annotations(self, *, duration_of: Callable[[str], float | None]) -> Annotations:
        """The annotations of all subsets.

        Args:
            duration_of: gives the length of a video's file in seconds, or None where it cannot.
        """

    @abstractmethod
    def video_path(self, video_id: str) -> Path:
        """Where the file of a video is expected."""

    def frame_rate_of(self, video: AnnotatedVideo) -> float | None:
        """Frames per second that the steps of a video are counted in; None where nothing tells without its file."""
        return video.num_frames / video.duration_seconds if video.num_frames else None

    def is_there(self) -> bool:
        """Whether there is something that `read_annotations` reads."""
        return True

    @property
    def origin(self) -> str:
        """What errors call the annotations."""
        return type(self).__name__

    def read_truth(self) -> AnnotationFile | None:
        """The annotations as the metric reads them, uncleaned; None: it takes what `read_annotations` gives."""
        return None

    def training_clips(self, augment: AugmentSettings, *, seed: int) -> TrainingClips | None:
        """The clips to train on; None: they are cut from the videos, as `sampling` says."""
        return None

    def testing_clips(self, *, leave_out: Collection[str]) -> TestingClips | None:
        """The clips to test on, without videos to `leave_out`; None: they are cut from the videos."""
        return None

    def file_name(self, video_id: str) -> str:
        """Of a video in a folder, without its suffix."""
        return video_id

    def input_path(self, video_id: str) -> Path:
        """Where the file that clips are cut from is expected: the video, or its stored features; as `video_path`."""
        if self.features is None:
            return self.video_path(video_id)
        return self.path_in(self.features, f"{self.file_name(video_id)}{FEATURES_SUFFIX}", video_id=video_id)

    def path_in(self, folder: Path, name: str, *, video_id: str) -> Path:
        """Where the file `name` of a video is expected; names come from annotations, which may be of others.

        Raises:
            UnsafeNameError: that is not in the folder.
        """
        try:
            return path_inside(folder, name, allow_links=self.allow_links)
        except UnsafeNameError as error:
            raise UnsafeNameError(
                f"{self.origin}, video {shown(video_id)}: its file {error}; correct the "
                "annotations or data.video_pattern, list the video in data.missing, or, for links of your own, set "
                "data.allow_links=True"
            ) from None


class AnnotationFileSettings(DataSettings):
    """A data set whose annotations are in a file, whatever its clips are made of."""

    annotations: Path
    """JSON of ActivityNet's layout, {"database": {id: {"subset", "duration", "frame", "annotations"}}}; the same
    without "database", with a `subset_file`; or a folder or zip archive of THUMOS-14's text files."""
    subset_file: Path | None = None
    """CSV with columns "video" and "subset", for annotations that do not tell the subsets."""

    def read_annotations(self, *, duration_of: Callable[[str], float | None]) -> Annotations:
        """From the file, or files."""
        return read_annotations(
            self.annotations,
            ignore_labels=self.ignore_labels,
            subset_file=self.subset_file,
            duration_of=duration_of,
            point_seconds=self.point_seconds,
        )

    def is_there(self) -> bool:
        """Whether there is such a file."""
        return self.annotations.exists()

    @property
    def origin(self) -> str:
        """The file."""
        return str(self.annotations)

    def read_truth(self) -> AnnotationFile:
        """What the file says."""
        fix = "give the path of an annotation file"
        return read_annotation_file(self.annotations, subset_file=self.subset_file, what="ground truth", fix=fix)


class DataConfig(AnnotationFileSettings):
    """A data set of an annotation file and a folder of videos."""

    kind: Literal["videos"] = "videos"
    """Names this kind of data set in a file or on the command line."""
    videos: Path
    """Folder of the video files."""
    video_pattern: str = "{id}.mp4"
    """Name of a video's file in the folder, with {id} for the video's id; it may not lead out of the folder."""

    @field_validator("video_pattern")
    @classmethod
    def _check_video_pattern(cls, value: str) -> str:
        if "{id}" not in value:
            raise ValueError(f'video_pattern must contain {{id}}, got {value!r}; "{{id}}.mp4" is the usual one')
        return value

    def video_path(self, video_id: str) -> Path:
        """Where the file of a video is expected.

        Raises:
            UnsafeNameError: that is not in the folder.
        """
        return self.path_in(self.videos, self.video_pattern.replace("{id}", video_id), video_id=video_id)

    def file_name(self, video_id: str) -> str:
        """As the pattern has it."""
        return Path(self.video_pattern.replace("{id}", video_id)).with_suffix("").as_posix()
