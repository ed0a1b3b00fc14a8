"""The data set of clips at fixed places, for testing."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
from torch.utils.data import Dataset

from re2tal.common.types import Clip
from re2tal.data.annotations import Annotations
from re2tal.data.clip_specs import WindowSpec, clip_spec_of, window_specs_of
from re2tal.data.clips import count_frames, seen, store_of, stored, to_clip
from re2tal.data.config import DataSettings
from re2tal.data.features import FeatureStore, VideoFeatures
from re2tal.data.frames import VideoFrames
from re2tal.data.subsets import TestSubset
from re2tal.video import center_crop

__all__ = ["TestingSet", "clip_of"]


class TestingSet(TestSubset, Dataset[Clip]):
    """Clips that cover every video of the test subset, without actions: windows, or the whole video resized."""

    def __init__(
        self, config: DataSettings, *, leave_out: Collection[str] = (), annotations: Annotations | None = None
    ) -> None:
        super().__init__(config, leave_out=leave_out, annotations=annotations)
        self._config = config
        self._store = store_of(config, self.videos, short_side=config.short_side_test)
        counted = count_frames(self.videos, config=config, store=self._store)
        self._places = [
            place
            for video in self.videos
            for place in window_specs_of(
                video, sampling=config.sampling, count_frames=partial(counted.__getitem__, video.video_id)
            )
        ]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The video of every clip; clips of one video are neighbours."""
        return tuple(place.video.video_id for place in self._places)

    @property
    def features(self) -> tuple[VideoFeatures, ...]:
        """Of every video, where clips are made of stored features and not of pixels."""
        return tuple(self._store) if isinstance(self._store, FeatureStore) else ()

    def __getitem__(self, index: int) -> Clip:
        place = self._places[index]
        with self._opened(place, in_order=False) as file:
            return self._clip(place, file)

    def in_order(self, numbers: Sequence[int]) -> Iterator[Clip]:
        """The clips of these numbers, which increase: as `self[number]`, but each frame is decoded once.

        Memory is that of a window's frames beside the clip, however long a video is.
        """
        for _, run in groupby(numbers, key=lambda number: self._places[number].video.video_id):
            places = [self._places[number] for number in run]
            with self._opened(places[0], in_order=True) as file:
                for place in places:
                    yield self._clip(place, file)

    def _opened(self, place: WindowSpec, *, in_order: bool) -> AbstractContextManager[VideoFrames | VideoFeatures]:
        path = self._config.input_path(place.video.video_id)
        if isinstance(self._store, FeatureStore):
            return self._store.open(path)
        return self._store.open(path, in_order=in_order)

    def _clip(self, place: WindowSpec, file: VideoFrames | VideoFeatures) -> Clip:
        return clip_of(place, file=file, config=self._config)


def clip_of(place: WindowSpec, *, file: VideoFrames | VideoFeatures, config: DataSettings) -> Clip:
    """The clip at a place of a video, centre-cropped, without the video's actions.

    Args:
        place: of testing.
        file: the video's frames, or its stored features.
        config: see there.
    """
    cut = clip_spec_of(place, file_frames=file.num_frames, sampling=config.sampling)
    if isinstance(file, VideoFeatures):
        make = stored(file, cut)
    else:
        make = seen(center_crop(file.frames(cut.sample.indices), size=config.crop_size))
    cut = replace(cut, segments=np.zeros((0, 2)), shown=np.zeros(len(place.video.actions), bool), labelled=None)
    return to_clip(place.video, cut, make, class_names=())
