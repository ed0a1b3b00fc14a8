"""A classification experiment as a value: which clips, which network, how it is trained."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from re2tal.common.extension import OneOf
from re2tal.common.settings import Settings
from re2tal.networks.backbones import BackboneConfig
from re2tal.training import TrainingConfig
from re2tal.training.annealing import require_anneal_range
from re2tal.video import AugmentConfig, AugmentSettings

__all__ = ["ClipSource", "ClipsConfig", "FinetuneConfig"]


class ClipSource(Settings):
    """Trimmed videos and their classes."""

    videos: Path
    """Folder of the video files: in a folder for each class; or, with `labels`, called as Kinetics calls them."""
    labels: Path | None = None
    """CSV of Kinetics' layout, with the columns label, youtube_id, time_start, time_end (seconds) and split. Files are
    `<id>_<start>_<end>.mp4` with six digits, or `<id>.mp4`, in `videos` or in a folder for each class. Rows without a
    file are left out and counted. None: the folders tell the classes."""
    split: str | None = None
    """Rows of the CSV that are meant, by their column split; None: all."""

    @model_validator(mode="after")
    def _splits_are_of_a_list(self) -> "ClipSource":
        if self.split is not None and self.labels is None:
            raise ValueError(
                f"split chooses rows of a list, got {self.split!r} without labels; give the CSV, or split=None"
            )
        return self


class ClipsConfig(Settings):
    """Trimmed videos, and how clips are cut from them."""

    train: ClipSource
    """To train on; its classes, sorted by name, are those of the network."""
    test: ClipSource
    """To measure on."""
    num_frames: int = Field(default=32, ge=1)
    """Frames of a clip."""
    frame_stride: int = Field(default=2, ge=1)
    """Every how many frames of the file one is taken; at the end of a short video its last frame is repeated."""
    test_clips: int = Field(default=4, ge=1)
    """Clips of a test video, at even distances, whose scores are averaged; 1: the one in the middle."""
    short_side_train: int = Field(default=256, ge=1)
    """Training frames are resized to this short side before augmentation."""
    short_side_test: int = Field(default=224, ge=1)
    """Test frames are resized to this short side before the centre crop."""
    crop_size: tuple[int, int] = (224, 224)
    """(height, width) of the frames that the network sees."""
    max_broken_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without videos that cannot be decoded, up to this share of them."""

    @property
    def clip_bytes(self) -> int:
        """Memory of one clip."""
        height, width = self.crop_size
        return 3 * height * width * self.num_frames

    @model_validator(mode="after")
    def _crop_fits(self) -> "ClipsConfig":
        if not 1 <= min(self.crop_size) <= self.short_side_test:
            raise ValueError(
                f"crop_size must fit into test frames, whose short side is short_side_test = {self.short_side_test}, "
                f"got {self.crop_size}; lower crop_size or raise short_side_test"
            )
        return self


class FinetuneConfig(Settings):
    """Everything that decides what a run of `re2tal finetune` does."""

    name: str = Field(min_length=1)
    """What the run is called in logs."""
    work_dir: Path
    """Runs write to `<work_dir>/gpu<processes>_id<id>/`."""
    backbone: BackboneConfig
    """As the detector's config will have it: weights fit where sizes are the same."""
    data: ClipsConfig
    augment: Annotated[AugmentSettings, OneOf(AugmentConfig)] = AugmentConfig()
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Of the features before the last layer."""
    training: TrainingConfig

    @model_validator(mode="after")
    def _backbone_takes_the_clips(self) -> "FinetuneConfig":
        self.backbone.require_clips(num_frames=self.data.num_frames, crop_size=self.data.crop_size)
        return self

    @model_validator(mode="after")
    def _backbone_learns_what_is_wanted(self) -> "FinetuneConfig":
        if self.backbone.frozen:
            raise ValueError("fine-tuning trains the backbone, got backbone.frozen=True; set it to False")
        if self.backbone.reversible == "auto" or self.training.memory is not None:
            raise ValueError(
                "what memory has room for is planned for detectors alone, got backbone.reversible="
                f"{self.backbone.reversible} and training.memory={self.training.memory}; set True and None"
            )
        if self.training.start_from is not None:
            raise ValueError(
                f"training.start_from is for detectors, got {self.training.start_from}; give the weights to start "
                "with as backbone.pretrained"
            )
        require_anneal_range(self.training.anneal_epochs, start=(self.backbone.alpha, self.backbone.beta))
        return self
