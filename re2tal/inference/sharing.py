"""Features of windows that overlap, computed once where that is exact.

Some backbones cut a clip into sub-clips that do not see each other (`Backbone.sub_clip_frames`). A sub-clip of which
another window has shown the very same frames then has the very same features; which frames a clip shows, it says
itself (`Clip.frame_numbers`), so nothing here knows of strides and overlaps.

B batch, P sub-clips of a clip, F frames of a sub-clip, C channels, t times of a sub-clip, S steps.
"""

from collections import deque

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, PixelBatch
from re2tal.data import DataSettings, FeatureDataConfig, WindowSampling
from re2tal.data.windows import window_distance
from re2tal.networks.backbones import Backbone
from re2tal.training import log

__all__ = ["WindowFeatures", "tell_of_sharing", "why_not_shared"]

SubClip = tuple[str, tuple[int, ...]]
"""A video's id and the numbers of F of its frames."""


class WindowFeatures:
    """What a backbone makes of clips that come in order.

    Memory is that of the features of one batch's sub-clips for each run; frames are not kept. How many go through the
    network at once depends on what is known already, and so does the rounding of sums, in some kernels.
    """

    def __init__(self, backbone: Backbone, *, device: torch.device, runs: int = 1) -> None:
        """
        Args:
            backbone: in eval mode, on `device`.
            device: to compute on.
            runs: of neighbouring clips that batches come from in turn, such as one for each loader process.
        """
        self._backbone = backbone
        self._device = device
        self._cut = (-1, backbone.sub_clip_frames or 1)  # P, F
        self._recent: deque[dict[SubClip, Tensor]] = deque(maxlen=runs)  # (C, t) each
        self.num_sub_clips = 0
        """Of all clips so far."""
        self.num_computed = 0
        """Sub-clips that have gone through the network."""

    def of(self, batch: PixelBatch) -> Tensor:
        """(B, C, S) float32, as `backbone(batch.frames, S)`."""
        if self._backbone.sub_clip_frames is None or not batch.frame_numbers:
            return self._backbone(batch.frames.to(self._device, non_blocking=True), batch.mask.shape[1])
        clips = self._sub_clips_of(batch)
        known = {sub_clip: features for recent in self._recent for sub_clip, features in recent.items()}
        fresh = {
            sub_clip: (clip, place)
            for clip, sub_clips in enumerate(clips)
            for place, sub_clip in enumerate(sub_clips)
            if sub_clip not in known
        }
        if fresh:
            known.update(zip(fresh, self._compute(batch, list(fresh.values())), strict=True))
        self._recent.append({sub_clip: known[sub_clip] for sub_clips in clips for sub_clip in sub_clips})
        self.num_sub_clips += sum(map(len, clips))
        self.num_computed += len(fresh)
        features = torch.stack(
            [torch.stack([known[sub_clip] for sub_clip in sub_clips]) for sub_clips in clips]
        )  # (B, P, C, t)
        return self._backbone.join(features, batch.mask.shape[1])

    def _sub_clips_of(self, batch: Batch) -> list[list[SubClip]]:
        """B lists of P."""
        clips = []
        for video_id, numbers in zip(batch.video_ids, batch.frame_numbers, strict=True):
            assert numbers is not None, "clips of testing say which frames they show"
            rows = numbers.unflatten(0, self._cut).tolist()
            clips.append([(video_id, tuple(row)) for row in rows])
        return clips

    def _compute(self, batch: PixelBatch, places: list[tuple[int, int]]) -> list[Tensor]:
        """(C, t) for every (clip, sub-clip)."""
        sub_clips = batch.frames.unflatten(2, self._cut)  # (B, 3, P, F, H, W)
        frames = torch.stack([sub_clips[clip, :, place] for clip, place in places])
        features = self._backbone.of_sub_clips(frames.to(self._device))
        return [sub_clip.clone() for sub_clip in features]  # not views, which would keep all of them


def why_not_shared(backbone: nn.Module, *, config: DataSettings) -> str | None:
    """Why windows of testing have no features in common; None if they have."""
    sampling, sub_clip = config.sampling, _sub_clip_frames(backbone)
    if not isinstance(sampling, WindowSampling):
        return "clips are whole videos"
    distance = window_distance(sampling.num_steps, overlap=sampling.test_overlap) * sampling.frames_per_step
    if distance >= sampling.num_steps * sampling.frames_per_step:
        return "windows do not overlap (data.sampling.test_overlap)"
    if sub_clip is None:
        return (
            "this backbone does not cut clips into sub-clips, and features near the ends of a window depend on them "
            "as far as the network reaches, so that what windows have in common saves little (docs/performance.md)"
        )
    if distance % sub_clip:
        return (
            f"windows begin every {distance} frames of a clip, and the backbone takes sub-clips of {sub_clip}, so that "
            "those of neighbouring windows do not coincide; choose data.sampling.test_overlap such that they begin at "
            f"multiples of {sub_clip} frames"
        )
    return None


def _sub_clip_frames(backbone: nn.Module) -> int | None:
    return backbone.sub_clip_frames if isinstance(backbone, Backbone) else None


def tell_of_sharing(backbone: nn.Module, *, config: DataSettings) -> None:
    """Say in the log whether features of overlapping windows are computed once."""
    are_pixels = config.features is None and not isinstance(config, FeatureDataConfig)
    if not are_pixels or not isinstance(config.sampling, WindowSampling):
        return
    if reason := why_not_shared(backbone, config=config):
        log.info("features are computed for every window anew: %s", reason)
    else:
        log.info(
            "features of overlapping windows are computed once, in sub-clips of %d frames; the last window of a video, "
            "which ends with it, may have sub-clips of its own",
            _sub_clip_frames(backbone),
        )
