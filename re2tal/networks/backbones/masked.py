"""Tube masking: a VideoMAE learns from frames without labels, by completing what it is not shown.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training", NeurIPS
2022. The decoder and the loss are transformers'.

B clips, P sub-clips of each, N sub-clips of all, T frames, t/h/w tokens along time, height, width.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, PixelBatch
from re2tal.networks.backbones.backbone import build_backbone
from re2tal.networks.backbones.fresh import draw_by_width
from re2tal.networks.backbones.pixels import PixelNorm
from re2tal.networks.backbones.video_transformers import sinusoids
from re2tal.networks.backbones.videomae import VideoMaeConfig
from re2tal.networks.zoo.named import create

__all__ = ["MaskedVideoMae", "tube_masks"]


class MaskedVideoMae(nn.Module):
    """A VideoMAE that sees few tokens of each sub-clip, and a small decoder that predicts the pixels of all others.

    Args:
        config: of the backbone that the weights are for. It is rewired or checkpointed as it says; all of it is
            trained, without drop path and adapters.
        mask_ratio: share of the tokens of a time that is not shown, rounded to whole tokens.
        decoder_depth: blocks of the decoder, which is half as wide as the encoder.

    Raises:
        ValueError: no token of a time would be shown, or all of them.
    """

    trained_whole: ClassVar[Mapping[str, Any]] = {
        "drop_path": 0.0,
        "adapter": None,
        "train_from": "auto",
        "frozen": False,
        "freeze_norms": False,
    }
    """What of a backbone's settings is otherwise here."""

    def __init__(self, config: VideoMaeConfig, *, mask_ratio: float = 0.9, decoder_depth: int = 4) -> None:
        super().__init__()
        self.config, self.mask_ratio = config, mask_ratio
        self.num_places = places = math.prod(config.grid[1:])
        """Tokens of each time."""
        self.num_masked = round(mask_ratio * places)
        """Of these, those that are not shown."""
        if not 0 < self.num_masked < places:
            raise ValueError(
                f"a mask ratio of {mask_ratio:g} hides {self.num_masked} of the {places} tokens of a time "
                f"(backbone.size={config.size}, patches of {config.sizes.patch} pixels); give one from "
                f"{_rounded_up(1 / places)} to {_rounded_down(1 - 1 / places)}, or smaller patches"
            )
        self.normalise = PixelNorm()
        self.net = self._with_decoder(decoder_depth)

    def _with_decoder(self, depth: int) -> nn.Module:
        """transformers' network of the pre-training, around the blocks that the backbone will have."""
        config, sizes = self.config, self.config.sizes
        width = sizes.width // 2
        heads = next(count for count in range((sizes.heads + 1) // 2, 0, -1) if width % count == 0)
        net: Any = create(
            "transformers:VideoMAEForPreTraining",
            {
                # For one token: the library makes positions number by number, which takes seconds; they are replaced.
                "image_size": sizes.patch,
                "num_frames": config.token_frames,
                "patch_size": sizes.patch,
                "hidden_size": sizes.width,
                "num_hidden_layers": 0,
                "num_attention_heads": sizes.heads,
                "intermediate_size": sizes.hidden,
                "layer_norm_eps": 1e-6,
                "use_mean_pooling": False,  # a norm between encoder and decoder, as its authors have it
                "norm_pix_loss": True,
                "decoder_hidden_size": width,
                "decoder_num_hidden_layers": depth,
                "decoder_num_attention_heads": heads,
                "decoder_intermediate_size": 4 * width,
            },
        )
        if config.fresh_weights == "by_width":
            draw_by_width(nn.ModuleList([net.encoder_to_decoder, net.decoder.decoder_layers]))
        encoder: Any = build_backbone(config.model_copy(update=self.trained_whole)).network.get_submodule("net")
        net.videomae.embeddings, net.videomae.encoder = encoder.embeddings, encoder.encoder
        net.videomae.embeddings.patch_embeddings.image_size = self._seen
        del net.position_embeddings  # a buffer, which follows the network to its device
        net.register_buffer("position_embeddings", sinusoids(math.prod(config.grid), width), persistent=False)
        made: nn.Module = net
        return made

    @property
    def _seen(self) -> tuple[int, int]:
        """Height and width of the whole patches of a frame; what is left of one at the edges is not seen."""
        _, rows, columns = self.config.grid
        return rows * self.config.sizes.patch, columns * self.config.sizes.patch

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error of the hidden pixels, each patch and colour normalised, as `loss`."""
        if not isinstance(batch, PixelBatch):
            raise ValueError("tube masking is of frames, and the data gives stored features; set data.features=None")
        sub_clips = self.normalise(self.sub_clips(batch))  # (N, 3, T, h * patch, w * patch)
        masks = tube_masks(len(sub_clips), self.config.grid, num_masked=self.num_masked, device=sub_clips.device)
        found = self.net(sub_clips.transpose(1, 2).contiguous(), bool_masked_pos=masks)
        return {"loss": found.loss.float()}

    def sub_clips(self, batch: PixelBatch) -> Tensor:
        """(N, 3, `clip_frames`, h * patch, w * patch) uint8: those of all clips that do not lie behind the video."""
        config, (height, width) = self.config, self._seen
        frames = batch.frames  # (B, 3, P * T, H, W)
        config.require_clips(num_frames=frames.shape[2], crop_size=(frames.shape[3], frames.shape[4]))
        cut = frames[..., :height, :width].unflatten(2, (-1, config.clip_frames)).transpose(1, 2)
        of_frames = batch.mask.repeat_interleave(frames.shape[2] // batch.mask.shape[1], dim=1)  # (B, P * T)
        return cut[of_frames.unflatten(1, (-1, config.clip_frames)).any(2)]

    def load_backbone(self, weights: Mapping[str, Tensor]) -> None:
        """Take over all weights of a backbone, by its network's names; the decoder's stay."""
        given = {"net.videomae." + name.removeprefix("net."): value for name, value in weights.items()}
        self.load_state_dict({**self.state_dict(), **given})

    @staticmethod
    def backbone_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the state dict of such a network, the tensors that a backbone has, under its names."""
        parts = ("net.videomae.embeddings.", "net.videomae.encoder.")
        return {"net." + name[len("net.videomae.") :]: x for name, x in weights.items() if name.startswith(parts)}


def tube_masks(count: int, grid: tuple[int, int, int], *, num_masked: int, device: torch.device) -> Tensor:
    """(count, t * h * w) bool, True at `num_masked` random places of h * w, the same at every time.

    They are drawn from the device's generator, as dropout is.
    """
    times, places = grid[0], grid[1] * grid[2]
    order = torch.rand(count, places, device=device).argsort(dim=1)
    hidden = torch.zeros(count, places, dtype=torch.bool, device=device)
    hidden.scatter_(1, order[:, :num_masked], True)
    return hidden.repeat(1, times)


def _rounded_up(share: float) -> float:
    return math.ceil(share * 100) / 100


def _rounded_down(share: float) -> float:
    return math.floor(share * 100) / 100
