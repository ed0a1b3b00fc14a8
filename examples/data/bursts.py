"""A data set that is in no file: clips of noise with bursts of red and green, made when they are asked for.

T frames, H/W space, S steps.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import PositiveInt

from re2tal.common.types import Action, AnnotatedVideo, Clip, PixelClip, TimeGrid
from re2tal.data import Annotations, DataSettings, ResizeSampling, Sampling
from re2tal.video import AugmentSettings

CLASSES = ("red", "green")
SECONDS = 16.0


class BurstsConfig(DataSettings):
    """How many clips there are; each is a whole video of 16 s."""

    has_files = False
    num_train: PositiveInt = 24
    """Clips to train on."""
    num_test: PositiveInt = 8
    """Clips to test on."""
    sampling: Sampling = ResizeSampling(num_steps=64, frames_per_step=1)

    def read_annotations(self, *, duration_of: Callable[[str], float | None]) -> Annotations:
        """Two bursts a video, drawn from its number."""
        videos = []
        for number in range(self.num_train + self.num_test):
            rng = np.random.default_rng(number)
            actions = [
                Action(
                    start_seconds=start, end_seconds=start + float(rng.uniform(2, 5)), label=str(rng.choice(CLASSES))
                )
                for start in (float(rng.uniform(0.5, 2)), float(rng.uniform(8, 10)))
            ]
            videos.append(
                AnnotatedVideo(
                    video_id=f"bursts{number}",
                    subset="training" if number < self.num_train else "validation",
                    duration_seconds=SECONDS,
                    num_frames=None,
                    actions=tuple(actions),
                )
            )
        return Annotations(path=Path(__file__), videos=tuple(videos), problems=())

    def video_path(self, video_id: str) -> Path:
        """There is no file."""
        return Path(f"{video_id} is in no file")

    def training_clips(self, augment: AugmentSettings, *, seed: int) -> "Bursts":
        """With actions, augmented anew in every epoch."""
        return Bursts(self, "training", augment=augment, seed=seed)

    def testing_clips(self, *, leave_out: Collection[str]) -> "Bursts":
        """Without actions, as they are."""
        return Bursts(self, "validation", leave_out=leave_out)


class Bursts:
    """The clips of a subset; see `TrainingClips` and `TestingClips`."""

    class_names = CLASSES
    labels = frozenset(CLASSES)

    def __init__(
        self,
        config: BurstsConfig,
        subset: str,
        *,
        augment: AugmentSettings | None = None,
        seed: int = 0,
        leave_out: Collection[str] = (),
    ) -> None:
        annotations = config.read_annotations(duration_of=lambda _: None)
        self._videos = [
            video for video in annotations.videos if video.subset == subset and video.video_id not in leave_out
        ]
        self._config, self._augment, self._seed = config, augment, seed
        # In shared memory, so that loader processes see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self.broken: dict[str, str] = {}
        self.video_ids = tuple(video.video_id for video in self._videos)

    def __len__(self) -> int:
        return len(self._videos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the augmentation."""
        self._epoch.fill_(epoch)

    def in_order(self, numbers: Sequence[int]) -> Iterator[Clip]:
        """One after the other."""
        return (self[number] for number in numbers)

    def __getitem__(self, index: int) -> Clip:
        video, (height, width) = self._videos[index], self._config.crop_size
        steps, frames_per_step = self._config.sampling.num_steps, self._config.sampling.frames_per_step
        num_frames = steps * frames_per_step
        rng = np.random.default_rng(index)
        frames = torch.from_numpy(rng.integers(0, 60, (num_frames, 3, height, width), dtype=np.uint8))
        for action in video.actions:
            first, end = (round(at / SECONDS * num_frames) for at in (action.start_seconds, action.end_seconds))
            frames[first:end, CLASSES.index(action.label)] += 150
        clip = frames.transpose(0, 1).contiguous()  # (3, T, H, W)
        if self._augment is not None:
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            clip = self._augment.apply(iter(frames), rng=rng, size=(height, width), num_frames=num_frames)
        shown = video.actions if self._augment is not None else ()
        segments = [[action.start_seconds, action.end_seconds] for action in shown]
        return PixelClip(
            video_id=video.video_id,
            frames=clip,
            mask=torch.ones(steps, dtype=torch.bool),
            grid=TimeGrid(start_seconds=0.0, seconds_per_step=SECONDS / steps, duration_seconds=SECONDS),
            segments=torch.tensor(segments).reshape(-1, 2) * steps / SECONDS,
            labels=torch.tensor([CLASSES.index(action.label) for action in shown], dtype=torch.int64),
        )
