"""What a trained network finds in clips, and in the video that they are of; testing and predicting share it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, Detections, PixelBatch
from re2tal.config import ExperimentConfig
from re2tal.data import WindowSampling
from re2tal.detections import VideoScores, detect_window, merge_windows
from re2tal.inference.sharing import WindowFeatures
from re2tal.inference.whole_videos import WholeVideos
from re2tal.networks.backbones import Backbone
from re2tal.networks.detector import Detector
from re2tal.training import autocast

__all__ = ["ClipDetector", "compute_repeatably", "made_ahead"]

T = TypeVar("T")


class ClipDetector:
    """A network in eval mode with the post-processing of its experiment.

    Args:
        model: takes a `Batch`, gives its `Proposals`.
        config: of the experiment.
        device: where the model is.
        video_labels: what `config.postprocess.video_labels` names, as read.
        runs: of neighbouring clips that batches come from in turn, such as one for each loader process.
        share: compute features of overlapping windows once, where the backbone allows it (see `WindowFeatures`).
        num_windows: of each video, by its id, if the features of all of them go through pyramid and head together
            (`data.test_whole`): a clip that completes its video then gives what is found in the video, others nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        config: ExperimentConfig,
        device: torch.device,
        video_labels: VideoScores | None,
        runs: int = 1,
        share: bool = True,
        num_windows: Mapping[str, int] | None = None,
    ) -> None:
        self._model = model.eval()
        self._config = config
        self._device = device
        self._video_labels = video_labels
        self._are_windows = isinstance(config.data.sampling, WindowSampling)
        self.features: WindowFeatures | None = None
        """Of the backbone, where windows can share them."""
        if share and isinstance(model, Detector) and isinstance(model.backbone, Backbone):
            in_pieces = model.backbone.sub_clip_frames is not None and self._are_windows
            self.features = WindowFeatures(model.backbone, device=device, runs=runs) if in_pieces else None
        self._whole = None if num_windows is None else WholeVideos(num_windows)

    def in_clips(self, batches: Iterable[Batch]) -> Iterator[Detections]:
        """What is found in every clip, or whole video, in seconds of its video."""
        for batch in batches:
            yield from self.in_batch(batch)

    def in_batch(self, batch: Batch) -> Iterator[Detections]:
        """What is found in every clip of a batch, or in every video that it completes, in seconds of the video."""
        if self._whole is None and self.features is None:
            yield from self._found_in(batch)
            return
        with torch.no_grad(), autocast(self._config.training.amp, device=self._device):
            features = batch.features_by(self._features_of)
        for complete in [features] if self._whole is None else self._whole.add(features.to(self._device)):
            yield from self._found_in(complete)

    def _features_of(self, batch: PixelBatch) -> Tensor:
        """(B, C, S) float32."""
        if self.features is not None:
            return self.features.of(batch)
        features: Tensor = self._model.get_submodule("backbone")(batch.frames.to(self._device), batch.mask.shape[1])
        return features

    def _found_in(self, batch: Batch) -> Iterator[Detections]:
        with torch.no_grad(), autocast(self._config.training.amp, device=self._device):
            found = self._model(batch.to(self._device))
        for proposals, grid, video_id in zip(found, batch.grids, batch.video_ids, strict=True):
            yield detect_window(
                proposals,
                grid=grid,
                video_id=video_id,
                config=self._config.postprocess,
                merged_later=self._are_windows,
                video_labels=self._video_labels,
            )

    def in_video(self, clips: Sequence[Detections]) -> Detections:
        """What is found in a video, given what was found in all of its clips."""
        if self._are_windows:
            return merge_windows(clips, config=self._config.postprocess)
        (whole,) = clips
        return whole


def compute_repeatably() -> None:
    """Let cuDNN choose kernels that give the same every time, as testing does."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def made_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each made in a thread while the one before it is used: a network need not wait for a decoder."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, iterator, None)
            yield item
