"""Networks that take clips of one length: a longer clip is cut into sub-clips that go through side by side.

B batch, C channels, T frames, P sub-clips, H/W space.
"""

from abc import abstractmethod
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from re2tal.networks.adapters import tell_sub_clips
from re2tal.networks.backbones.config import NetworkConfig
from re2tal.networks.backbones.pixels import PixelNorm

__all__ = ["SubClipConfig", "SubClipTrunk"]


class SubClipConfig(NetworkConfig):
    """What such a network takes."""

    size_fix: ClassVar[str] = "set both alike"
    """What to do about frames of another size."""
    clip_frames: PositiveInt = 16
    """Frames that it takes at a time."""
    size: tuple[PositiveInt, PositiveInt] = (224, 224)
    """(height, width) of the frames that it takes."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The network, for messages."""

    @property
    def clip_multiple(self) -> int:
        """Whole sub-clips."""
        return self.clip_frames

    @property
    def chunk_length(self) -> int | None:
        """A sub-clip, unless adapters see several, or chunks of several are asked for."""
        sees_whole_clips = self.adapter is not None and self.adapter.sees_whole_clips
        return self.chunk_frames or (None if sees_whole_clips else self.clip_frames)

    def require_clips(self, *, num_frames: int, crop_size: tuple[int, int]) -> None:
        """Refuse clips that it cannot take."""
        if num_frames % self.clip_frames:
            raise ValueError(
                f"{self.title} takes {self.clip_frames} frames at a time (backbone.clip_frames), and clips have "
                f"{num_frames}; give them a multiple of that"
            )
        if crop_size != self.size:
            raise ValueError(
                f"{self.title} takes frames of backbone.size={self.size}, and data.crop_size is {crop_size}; "
                f"{self.size_fix}"
            )


class SubClipTrunk(nn.Module):
    """Frames in, one feature for every time position of every sub-clip out."""

    def __init__(self, config: SubClipConfig) -> None:
        super().__init__()
        self.config = config
        self.normalise = PixelNorm()

    @property
    def sub_clip_frames(self) -> int:
        """Frames that the network takes at a time."""
        return self.config.clip_frames

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """(B, 3, T, H, W) uint8 RGB, or normalised, with T a multiple of `clip_frames` -> one (B, C, T', 1, 1)."""
        batch, _, num_frames = frames.shape[:3]
        self.config.require_clips(num_frames=num_frames, crop_size=(frames.shape[3], frames.shape[4]))
        sub_clips = frames.unflatten(2, (-1, self.config.clip_frames)).transpose(1, 2)  # (B, P, 3, T / P, H, W)
        tell_sub_clips(self, sub_clips.shape[1])
        features = self.of_sub_clips(sub_clips.flatten(0, 1))  # (B * P, C, T' / P)
        return (self.joined(features.unflatten(0, (batch, -1))),)

    def of_sub_clips(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, `clip_frames`, H, W) uint8 RGB, or normalised -> (N, C, T' / P): each sub-clip's own features."""
        return self.features(self.normalise(sub_clips))

    @abstractmethod
    def features(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, `clip_frames`, H, W), normalised -> (N, C, T' / P)."""

    @staticmethod
    def joined(features: Tensor) -> Tensor:
        """(B, P, C, T' / P) features of the sub-clips of clips -> (B, C, T', 1, 1), as `forward` gives them."""
        return features.transpose(1, 2).flatten(2)[..., None, None]
