"""Map-style data sets of clips of trimmed videos: a clip is one action from its beginning to its end."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from re2tal.common.types import Clip, PixelClip, TimeGrid
from re2tal.data import TooManyBrokenVideosError
from re2tal.data.broken import BrokenVideos
from re2tal.experiments.finetuning.config import ClipsConfig
from re2tal.experiments.finetuning.lists import TrimmedVideo
from re2tal.video import AugmentSettings, FrameReader, VideoError, center_crop, open_video

__all__ = ["TrimmedTestingSet", "TrimmedTrainingSet", "clip_frames", "part_of_file"]

# A training item gives up after this many broken videos in a row.
_MAX_ATTEMPTS = 100

_TRIMMED_WITHIN_SECONDS = 1.0
"""A file that is no more than this longer than its list says is taken as trimmed already."""


def part_of_file(video: TrimmedVideo, file: FrameReader) -> tuple[int, int]:
    """First and last frame (exclusive) of a file that show the class: all of it, unless it was never trimmed."""
    if video.seconds is None:
        return 0, file.num_frames
    start, end = video.seconds
    if file.duration_seconds <= end - start + _TRIMMED_WITHIN_SECONDS:
        return 0, file.num_frames
    first = min(round(start * file.fps), file.num_frames - 1)
    return first, min(max(round(end * file.fps), first + 1), file.num_frames)


def clip_frames(first: int, end: int, *, place: float, num_frames: int, stride: int) -> np.ndarray:
    """(T,) frame numbers of a clip.

    Args:
        first: frame of the part of the file that is meant.
        end: of it, exclusive.
        place: of the clip in it, from 0, at its beginning, to 1, at its end.
        num_frames: of the clip.
        stride: from one frame of the clip to the next.
    """
    room = max(end - first - ((num_frames - 1) * stride + 1), 0)
    start = first + min(int(place * (room + 1)), room)
    return np.minimum(start + stride * np.arange(num_frames), end - 1)


class _Clips(Dataset[Clip]):
    def __init__(self, videos: Sequence[TrimmedVideo], config: ClipsConfig, *, class_names: Sequence[str]) -> None:
        self.videos = tuple(videos)
        self._config = config
        self._index = {name: index for index, name in enumerate(class_names)}

    def _numbers(self, video: TrimmedVideo, file: FrameReader, *, place: float) -> list[int]:
        """Of the frames of a clip: T of them."""
        first, end = part_of_file(video, file)
        config = self._config
        return clip_frames(first, end, place=place, num_frames=config.num_frames, stride=config.frame_stride).tolist()

    def _clip(self, video: TrimmedVideo, frames: Tensor) -> Clip:
        steps = self._config.num_frames
        return PixelClip(
            video_id=f"{video.label}/{video.path.stem}",
            frames=frames,
            mask=torch.ones(steps, dtype=torch.bool),
            grid=TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=float(steps)),
            segments=torch.tensor([[0.0, steps]]),
            labels=torch.tensor([self._index[video.label]]),
        )


class TrimmedTrainingSet(_Clips):
    """One augmented clip of every video, from a random place.

    What an item holds depends on the seed, the epoch and the index alone. A video that cannot be decoded is replaced by
    another, drawn from the same numbers.
    """

    def __init__(
        self,
        videos: Sequence[TrimmedVideo],
        config: ClipsConfig,
        augment_config: AugmentSettings,
        *,
        class_names: Sequence[str],
        seed: int,
    ) -> None:
        super().__init__(videos, config, class_names=class_names)
        self._augment_config, self._seed = augment_config, seed
        # In shared memory, so that workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._broken = BrokenVideos(len(self.videos))

    def __len__(self) -> int:
        return len(self.videos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the next pass."""
        self._epoch.fill_(epoch)

    @property
    def broken(self) -> dict[str, str]:
        """The files found unusable so far, by any worker, and why."""
        return {str(self.videos[index].path): reason for index, reason in self._broken.reasons().items()}

    def __getitem__(self, index: int) -> Clip:
        config, number = self._config, index
        for attempt in range(_MAX_ATTEMPTS):
            rng = np.random.default_rng((self._seed, int(self._epoch), index, attempt))
            if attempt:
                number = int(rng.integers(len(self.videos)))
            video = self.videos[number]
            try:
                return self._clip(video, self._augmented(video, rng))
            except (VideoError, OSError) as error:
                self._broken.add(number, str(error))
                if self._broken.count() > config.max_broken_share * len(self.videos):
                    break
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(self.broken.items())[:5])
        raise TooManyBrokenVideosError(
            f"{self._broken.count()} of {len(self.videos)} training videos are broken, more than data.max_broken_share "
            f"= {config.max_broken_share:g} allows; replace or remove these files, or raise it:{listed}"
        )

    def _augmented(self, video: TrimmedVideo, rng: np.random.Generator) -> Tensor:
        """(3, T, h, w) uint8."""
        config = self._config
        with open_video(video.path) as file:
            numbers = self._numbers(video, file, place=rng.random())
            frames = file.stream(numbers, size=config.short_side_train)
            return self._augment_config.apply(frames, rng=rng, size=config.crop_size, num_frames=len(numbers))


class TrimmedTestingSet(_Clips):
    """The clips of every video, neighbours, at even distances and centre-cropped."""

    __test__ = False  # the name makes pytest look for tests in it

    def __len__(self) -> int:
        return len(self.videos) * self._config.test_clips

    def __getitem__(self, index: int) -> Clip:
        config = self._config
        number, clip = divmod(index, config.test_clips)
        place = clip / (config.test_clips - 1) if config.test_clips > 1 else 0.5
        video = self.videos[number]
        with open_video(video.path) as file:
            frames = file.frames(self._numbers(video, file, place=place), size=config.short_side_test)
        return self._clip(video, center_crop(frames, size=config.crop_size))
