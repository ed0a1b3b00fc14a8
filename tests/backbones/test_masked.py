"""Tube masking: which tokens are hidden, and the loss of those, against transformers' own network."""

from typing import Any

import pytest
import torch
from torch import Tensor

from re2tal.common.types import PixelBatch, TimeGrid
from re2tal.networks.backbones import MaskedVideoMae, VideoMaeConfig, build_backbone, tube_masks
from re2tal.reversible import set_mode

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "hidden": 20, "patch": 4, "clip_frames": 4}
CPU = torch.device("cpu")


def batch(*, frames: int, size: tuple[int, int], valid: tuple[int, ...]) -> PixelBatch:
    """Clips of noise, of each of which the first `valid` steps lie in the video; a step is two frames."""
    count, steps = len(valid), frames // 2
    generator = torch.Generator().manual_seed(3)
    return PixelBatch(
        frames=torch.randint(0, 256, (count, 3, frames, *size), dtype=torch.uint8, generator=generator),
        video_ids=("v",) * count,
        mask=torch.arange(steps) < torch.tensor(valid)[:, None],
        grids=(TimeGrid(start_seconds=0, seconds_per_step=1, duration_seconds=9),) * count,
        segments=(torch.zeros(0, 2),) * count,
        labels=(torch.zeros(0, dtype=torch.int64),) * count,
    )


def test_masks_are_tubes_of_the_exact_share() -> None:
    torch.manual_seed(0)
    masks = tube_masks(50, (3, 4, 5), num_masked=18, device=CPU).unflatten(1, (3, 20))  # (N, t, h * w)
    assert (masks == masks[:, :1]).all()
    assert (masks.sum(2) == 18).all()
    hidden = masks[:, 0].float().mean(0)
    assert (hidden > 0.7).all() and len({tuple(mask.tolist()) for mask in masks[:, 0]}) > 40


@pytest.mark.parametrize(("ratio", "hidden"), [(0.9, 18), (0.75, 15), (0.01, None), (0.99, None)])
def test_the_ratio_is_rounded_to_whole_tokens(ratio: float, hidden: int | None) -> None:
    config = VideoMaeConfig(**SIZES, size=(16, 20))
    if hidden is not None:
        assert MaskedVideoMae(config, mask_ratio=ratio).num_masked == hidden
        return
    with pytest.raises(ValueError, match=r"hides (0|20) of the 20 tokens of a time .* from 0.05 to 0.95"):
        MaskedVideoMae(config, mask_ratio=ratio)


def reference_loss(model: MaskedVideoMae, sub_clips: Tensor, masks: Tensor) -> Tensor:
    """Of transformers' network, built whole for (N, 3, T, h * patch, w * patch) and given the same weights."""
    ours: Any = model.net
    options = {**ours.config.to_dict(), "image_size": tuple(sub_clips.shape[3:]), "num_frames": sub_clips.shape[2]}
    reference = transformers.VideoMAEForPreTraining(
        transformers.VideoMAEConfig(**{**options, "num_hidden_layers": model.config.sizes.depth})
    )
    reference.load_state_dict(ours.state_dict())
    # Those of the encoder are interpolated from the published grid; a test of the backbone compares them.
    reference.videomae.embeddings.position_embeddings = ours.videomae.embeddings.position_embeddings
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (sub_clips / 255 - mean) / std
    loss: Tensor = reference(pixels.transpose(1, 2), bool_masked_pos=masks).loss
    return loss


@pytest.mark.parametrize("size", [(8, 12), (11, 14)])
def test_the_loss_is_that_of_transformers(size: tuple[int, int]) -> None:
    """Also where a rest of a patch at the edges is not seen."""
    model = MaskedVideoMae(VideoMaeConfig(**SIZES, size=size, drop_path=0.3), mask_ratio=0.5, decoder_depth=2).train()
    clips = batch(frames=8, size=size, valid=(4, 4))
    torch.manual_seed(5)
    loss = model(clips)["loss"]
    torch.manual_seed(5)
    masks = tube_masks(4, model.config.grid, num_masked=model.num_masked, device=CPU)
    cut = clips.frames[..., :8, :12].unflatten(2, (2, 4)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(loss, reference_loss(model, cut, masks), rtol=1e-4, atol=1e-5)


def test_sub_clips_behind_the_video_are_left_out() -> None:
    model = MaskedVideoMae(VideoMaeConfig(**SIZES, size=(8, 8)), mask_ratio=0.5)
    clips = batch(frames=12, size=(8, 8), valid=(6, 3, 2))  # of three sub-clips of two steps: 3, 2 and 1 hold some
    cut = clips.frames.unflatten(2, (3, 4)).transpose(1, 2)
    expected = torch.cat([cut[0], cut[1, :2], cut[2, :1]])
    assert torch.equal(model.sub_clips(clips), expected)


def test_the_encoder_sees_visible_tokens_alone() -> None:
    model = MaskedVideoMae(VideoMaeConfig(**SIZES, size=(8, 8)), mask_ratio=0.75)
    seen: list[int] = []
    blocks: Any = model.net.get_submodule("videomae.encoder.layer")
    blocks[0].register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    model(batch(frames=4, size=(8, 8), valid=(2,)))
    assert seen == [2]  # one of four places, two times


@pytest.mark.parametrize("way", ["plain", "rewired", "checkpointed"])
def test_its_weights_are_those_of_the_backbone(way: str) -> None:
    changes = {"reversible": way == "rewired", "activation_checkpointing": way == "checkpointed"}
    config = VideoMaeConfig(**SIZES, size=(8, 8), drop_path=0, **changes)
    model = MaskedVideoMae(config, mask_ratio=0.5)
    weights = MaskedVideoMae.backbone_weights(model.state_dict())
    backbone = build_backbone(config)
    backbone.network.load_state_dict(weights)  # every name, no other
    clips = batch(frames=4, size=(8, 8), valid=(2,))
    pixels = model.normalise(model.sub_clips(clips)).transpose(1, 2)
    encoder: Any = model.net.get_submodule("videomae")
    tokens = encoder.encoder(encoder.embeddings(pixels, None)).last_hidden_state  # nothing hidden, before the norm
    features = tokens.unflatten(1, (2, -1)).mean(2).transpose(1, 2)
    torch.testing.assert_close(backbone(clips.frames, 2), features)


def test_gradients_of_a_rewired_network_are_those_of_plain_autograd() -> None:
    config = VideoMaeConfig(**SIZES, size=(8, 8), reversible=True)
    model = MaskedVideoMae(config, mask_ratio=0.5).double().train()
    clips = batch(frames=8, size=(8, 8), valid=(4,))
    model.normalise.double()
    found = []
    for mode in ("reversible", "store"):
        set_mode(model, mode)
        model.zero_grad()
        torch.manual_seed(1)
        model(clips)["loss"].backward()
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=name)
