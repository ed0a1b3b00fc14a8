"""Features of windows that overlap, computed once where that is exact.

Some backbones cut a clip into pieces that do not see each other (`Backbone.piece_frames`). A piece of which another
window has shown the very same frames then has the very same features; which frames a clip shows, it says itself
(`Clip.frame_numbers`), so nothing here knows of strides and overlaps.

B batch, P pieces of a clip, F frames of a piece, C channels, t times of a piece, S steps.
"""

from collections import deque

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, PixelBatch
from re2tal.data import DataSettings, WindowSampling
from re2tal.networks.backbones import Backbone
from re2tal.training import log

__all__ = ["WindowFeatures", "tell_of_sharing", "why_not_shared"]

Piece = tuple[str, tuple[int, ...]]
"""A video's id and the numbers of F of its frames."""


class WindowFeatures:
    """What a backbone makes of clips that come in order.

    Memory is that of the features of one batch's pieces for each run; frames are not kept. How many pieces go through
    the network at once depends on what is known already, and so does the rounding of sums, in some kernels.
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
        self._cut = (-1, backbone.piece_frames or 1)  # P, F
        self._recent: deque[dict[Piece, Tensor]] = deque(maxlen=runs)  # (C, t) each
        self.num_pieces = 0
        """Of all clips so far."""
        self.num_computed = 0
        """Pieces that have gone through the network."""

    def of(self, batch: PixelBatch) -> Tensor:
        """(B, C, S) float32, as `backbone(batch.frames, S)`."""
        if self._backbone.piece_frames is None or not batch.frame_numbers:
            return self._backbone(batch.frames.to(self._device, non_blocking=True), batch.mask.shape[1])
        clips = self._pieces_of(batch)
        known = {piece: features for recent in self._recent for piece, features in recent.items()}
        fresh = {
            piece: (clip, place)
            for clip, pieces in enumerate(clips)
            for place, piece in enumerate(pieces)
            if piece not in known
        }
        if fresh:
            known.update(zip(fresh, self._compute(batch, list(fresh.values())), strict=True))
        self._recent.append({piece: known[piece] for pieces in clips for piece in pieces})
        self.num_pieces += sum(map(len, clips))
        self.num_computed += len(fresh)
        features = torch.stack([torch.stack([known[piece] for piece in pieces]) for pieces in clips])  # (B, P, C, t)
        return self._backbone.join(features, batch.mask.shape[1])

    def _pieces_of(self, batch: Batch) -> list[list[Piece]]:
        """B lists of P."""
        clips = []
        for video_id, numbers in zip(batch.video_ids, batch.frame_numbers, strict=True):
            assert numbers is not None, "clips of testing say which frames they show"
            rows = numbers.unflatten(0, self._cut).tolist()
            clips.append([(video_id, tuple(row)) for row in rows])
        return clips

    def _compute(self, batch: PixelBatch, places: list[tuple[int, int]]) -> list[Tensor]:
        """(C, t) for every (clip, piece)."""
        pieces = batch.frames.unflatten(2, self._cut)  # (B, 3, P, F, H, W)
        frames = torch.stack([pieces[clip, :, place] for clip, place in places])
        features = self._backbone.of_pieces(frames.to(self._device))
        return [piece.clone() for piece in features]  # not views, which would keep all of them


def why_not_shared(backbone: nn.Module, *, config: DataSettings) -> str | None:
    """Why windows of testing have no features in common; None if they have."""
    sampling, piece = config.sampling, _piece_frames(backbone)
    if not isinstance(sampling, WindowSampling):
        return "clips are whole videos"
    distance = max(int(sampling.num_steps * (1 - sampling.test_overlap)), 1) * sampling.frames_per_step
    if distance >= sampling.num_steps * sampling.frames_per_step:
        return "windows do not overlap (data.sampling.test_overlap)"
    if piece is None:
        return (
            "this backbone does not cut clips into pieces, and features near the ends of a window depend on the ends "
            "as far as the network reaches, so that what windows have in common saves little (docs/performance.md)"
        )
    if distance % piece:
        return (
            f"windows begin every {distance} frames of a clip, and the backbone takes pieces of {piece}, so that "
            "pieces of neighbouring windows do not coincide; choose data.sampling.test_overlap such that they begin at "
            f"multiples of {piece} frames"
        )
    return None


def _piece_frames(backbone: nn.Module) -> int | None:
    return backbone.piece_frames if isinstance(backbone, Backbone) else None


def tell_of_sharing(backbone: nn.Module, *, config: DataSettings) -> None:
    """Say in the log whether features of overlapping windows are computed once."""
    if config.features is not None or not isinstance(config.sampling, WindowSampling):
        return
    if reason := why_not_shared(backbone, config=config):
        log.info("features are computed for every window anew: %s", reason)
    else:
        log.info(
            "features of overlapping windows are computed once, in pieces of %d frames; the last window of a video, "
            "which ends with it, may have pieces of its own",
            _piece_frames(backbone),
        )
