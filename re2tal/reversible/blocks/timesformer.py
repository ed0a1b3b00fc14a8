"""transformers' TimeSformer layer with divided attention: over time, over space, then an MLP.

What the first two add concerns only a part of the tokens, so the additions are not to the stream as it is: attention
over time leaves the class token alone, and attention over space treats it as a token of every frame and adds the mean.

B batch, S places, T frames, C channels; tokens are (1 + S * T): the class token, then all frames of the first place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from re2tal.reversible.blocks.exact import computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch

__all__ = ["split_timesformer_layer"]


def split_timesformer_layer(layer: Foreign) -> Split:
    """Three branches, if attention is divided."""
    if layer.attention_type != "divided_space_time":
        return Split()
    return Split(
        branches=(
            Branch(
                layer,
                _time,
                ("temporal_layernorm", "temporal_attention", "temporal_dense", "drop_path"),
                reads_args=False,
            ),
            Branch(layer, _space, ("layernorm_before", "attention", "drop_path"), reads_args=False),
            Branch(layer, _mlp, ("layernorm_after", "intermediate", "output", "drop_path"), reads_args=False),
        ),
        exact=computes_as_published(layer),
    )


def _time(layer: Foreign, x: Tensor, *_: object) -> Tensor:
    batch, _tokens, channels = x.shape
    frames = layer.config.num_frames
    places = x[:, 1:].reshape(-1, frames, channels)  # (B * S, T, C)
    attended = layer.drop_path(layer.temporal_attention(layer.temporal_layernorm(places))[0])
    added = layer.temporal_dense(attended.reshape(batch, -1, channels))
    return torch.cat((torch.zeros_like(x[:, :1]), added), dim=1)


def _space(layer: Foreign, x: Tensor, *_: object) -> Tensor:
    batch, tokens, channels = x.shape
    frames = layer.config.num_frames
    places = (tokens - 1) // frames
    in_frames = x[:, 1:].reshape(batch, places, frames, channels).transpose(1, 2)  # (B, T, S, C)
    with_class = torch.cat((x[:, None, :1].expand(-1, frames, -1, -1), in_frames), dim=2)
    pictures = with_class.reshape(batch * frames, 1 + places, channels)
    attended = layer.drop_path(layer.attention(layer.layernorm_before(pictures))[0])
    attended = attended.reshape(batch, frames, 1 + places, channels)
    of_class = attended[:, :, 0].mean(dim=1, keepdim=True)
    of_places = attended[:, :, 1:].transpose(1, 2).reshape(batch, places * frames, channels)
    return torch.cat((of_class, of_places), dim=1)


def _mlp(layer: Foreign, x: Tensor, *_: object) -> Tensor:
    added: Tensor = layer.drop_path(layer.output(layer.intermediate(layer.layernorm_after(x))))
    return added
