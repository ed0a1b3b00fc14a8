"""Checkpoints as AdaTAD publishes them: every name and shape, averaged weights, adapters inside or in a ladder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import load_config
from re2tal.config.building import build_detector
from re2tal.networks.adapters import LadderConfig, TemporalAdapterConfig
from re2tal.networks.backbones.videomae import VideoMaeConfig
from re2tal.weights import WeightsError, compare, load_detector, load_pretrained, read_weights
from tests.adapters.networks import adapted, build
from tests.weights.reference_files import actionformer_entries, numbered, opentad_checkpoint

pytest.importorskip("transformers")

CONFIGS = Path(__file__).parents[2] / "configs/adatad"
Named = tuple[str, tuple[str, ...], tuple[int, ...]]
"""AdaTAD's name, ours, shape."""


def backbone_entries(
    *, width: int, depth: int, patch: int, hidden: int, ladder_from: int | None, adapters_from: int
) -> Iterator[Named]:
    """The network as the published code builds it; () where a tensor has no place here."""

    def both(theirs: str, ours: str, weight: tuple[int, ...]) -> Iterator[Named]:
        yield f"{theirs}.weight", (f"{ours}.weight",), weight
        yield f"{theirs}.bias", (f"{ours}.bias",), weight[:1]

    yield "pos_embed", (), (1, 8 * (224 // patch) ** 2, width)
    yield from both("patch_embed.projection", "embeddings.patch_embeddings.projection", (width, 3, 2, patch, patch))
    for number in range(depth):
        theirs, ours = f"blocks.{number}", f"encoder.layer.{number}"
        yield from both(f"{theirs}.norm1", f"{ours}.layernorm_before", (width,))
        yield f"{theirs}.attn.q_bias", (f"{ours}.attention.attention.query.bias",), (width,)
        yield f"{theirs}.attn.v_bias", (f"{ours}.attention.attention.value.bias",), (width,)
        parts = tuple(f"{ours}.attention.attention.{part}.weight" for part in ("query", "key", "value"))
        yield f"{theirs}.attn.qkv.weight", parts, (3 * width, width)
        yield from both(f"{theirs}.attn.proj", f"{ours}.attention.output.dense", (width, width))
        yield from both(f"{theirs}.norm2", f"{ours}.layernorm_after", (width,))
        yield from both(f"{theirs}.mlp.layers.0.0", f"{ours}.intermediate.dense", (hidden, width))
        yield from both(f"{theirs}.mlp.layers.1", f"{ours}.output.dense", (width, hidden))
        if number >= (adapters_from if ladder_from is None else ladder_from):
            inside = f"{theirs}.adapter" if ladder_from is None else f"ladders.adapters.{number - ladder_from}"
            yield f"{inside}.gamma", (f"{ours}.adapter.gamma",), (1,)
            for layer, shape in (
                ("dwconv", (width // 4, 1, 3)),
                ("conv", (width // 4, width // 4, 1)),
                ("down_proj", (width // 4, width)),
                ("up_proj", (width, width // 4)),
            ):
                yield from both(f"{inside}.{layer}", f"{ours}.adapter.{layer}", shape)
    if ladder_from is None:
        yield from ((f"fc_norm.{end}", (), (width,)) for end in ("weight", "bias"))


def published(
    path: Path, *, width: int, depth: int, ladder_from: int | None, adapters_from: int = 0
) -> dict[str, float]:
    """Write a checkpoint, each tensor of which is filled with a number; returns our names and their numbers."""
    prefix, ours = "backbone.model.backbone.", "backbone.network.net."
    entries: list[Named] = [
        (prefix + theirs, tuple(ours + name for name in names), shape)
        for theirs, names, shape in backbone_entries(
            width=width,
            depth=depth,
            patch=16,
            hidden=4 * width,
            ladder_from=ladder_from,
            adapters_from=adapters_from,
        )
    ]
    rest = actionformer_entries(inputs=width, channels=512, classes=20)
    entries += [(theirs, (name,), shape) for theirs, name, shape in rest]
    state = numbered((theirs, shape) for theirs, _, shape in entries)
    zeros = {name: 0 * value for name, value in state.items()}
    torch.save(opentad_checkpoint(zeros, averaged=state, epoch=58), path)
    return {name: first(state[theirs]) for theirs, names, _ in entries for name in names}


def first(value: torch.Tensor) -> float:
    """Without a copy of the whole."""
    return float(value[(0,) * value.ndim])


@pytest.mark.parametrize(
    ("config", "width", "depth", "ladder_from"),
    [
        ("e2e_thumos_videomae_s_768x1_160_adapter", 384, 12, None),
        ("e2e_thumos_videomae_s_768x1_160_side", 384, 12, 6),
        ("e2e_thumos_videomae_l_768x1_160_adapter", 1024, 24, None),
    ],
)
def test_every_tensor_of_a_published_checkpoint_has_its_place(
    config: str, width: int, depth: int, ladder_from: int | None, tmp_path: Path
) -> None:
    expected = published(tmp_path / "epoch_58.pth", width=width, depth=depth, ladder_from=ladder_from)
    file = read_weights(tmp_path / "epoch_58.pth")
    assert (file.layout.kind, file.layout.part, file.layout.rewired) == ("videomae", "detector", False)
    assert file.averaged and file.epoch == 58
    assert {name: first(value) for name, value in file.tensors.items()} == expected
    with torch.device("meta"):
        model = build_detector(load_config(CONFIGS / f"{config}.py"), num_classes=20)
    placement = compare(file.tensors, model, dropped=file.dropped)
    assert not placement.differences() and len(placement.placed) == len(expected)


TINY: dict[str, Any] = {"width": 24, "depth": 4, "heads": 2, "hidden": 96, "patch": 16, "size": (32, 32)}


@pytest.mark.parametrize(
    "adapter",
    [TemporalAdapterConfig(), TemporalAdapterConfig(from_block=2), LadderConfig(from_block=2)],
    ids=["inside", "in the upper half", "ladder"],
)
def test_a_detector_and_a_backbone_take_it(adapter: Any, tmp_path: Path) -> None:
    path = tmp_path / "epoch_58.pth"
    ladder_from = 2 if isinstance(adapter, LadderConfig) else None
    expected = published(path, width=24, depth=4, ladder_from=ladder_from, adapters_from=adapter.from_block)
    preset = load_config(CONFIGS / "e2e_thumos_videomae_s_768x1_160_adapter.py")
    config = preset.model_copy(update={"backbone": adapted(VideoMaeConfig(**TINY), adapter)})
    model = build_detector(config, num_classes=20)
    load_detector(model, read_weights(path), kind="videomae", reversible=False)
    assert {n: first(v) for n, v in model.state_dict().items()} == expected
    backbone = build(config.backbone)
    load_pretrained(backbone.network, path=path, kind="videomae", reversible=False, adapters=backbone.adapter_names)
    assert all(
        torch.equal(value, model.state_dict()[f"backbone.network.{name}"])
        for name, value in backbone.network.state_dict().items()
    )
    plain = build(adapted(VideoMaeConfig(**TINY), None))
    with pytest.raises(WeightsError, match=r"unexpected, only in the file[\s\S]*adapter"):
        load_pretrained(plain.network, path=path, kind="videomae", reversible=False)


SIZES = {"s": (384, 12), "b": (768, 12), "l": (1024, 24), "h": (1280, 32), "g": (1408, 40)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_the_configs_have_the_published_settings(path: Path) -> None:
    config = load_config(path)
    name = path.stem.replace("videomaev2_", "videomae_")
    size, large = name.partition("videomae_")[2][0], "_224_" in name
    width, depth = SIZES[size]
    with torch.device("meta"):
        model = build_detector(config, num_classes=config.data.num_classes or 1)
    hidden = width // 4
    of_one = 2 * width * hidden + hidden + width + 3 * hidden + hidden + hidden**2 + hidden + 1
    number = depth // 2 if large or "side" in name else depth
    own = {name: p for name, p in model.backbone.named_parameters() if ".adapter." not in name}
    adapters = [p for name, p in model.backbone.named_parameters() if ".adapter." in name]
    assert sum(p.numel() for p in adapters) == number * of_one and all(p.requires_grad for p in adapters)
    assert {p.requires_grad for p in own.values()} == {"re2tal" in name}
    sampling, training = config.data.sampling, config.training
    frames = ((224, 224), 256) if large else ((160, 160), 182)
    assert (config.data.crop_size, config.data.short_side_train) == frames
    searched = "thumos" in name and (size == "s" or large)
    assert training.backbone_learning_rate == (2e-4 if searched else 1e-4)
    if "thumos" in name:
        seen = (768, 2, 2) if large else (768, 1, 4)
        assert (sampling.num_steps, sampling.frames_per_step, sampling.frame_stride) == seen
        assert (training.epochs, training.eval_from) == ((50, 37) if large else (60, 40))
        assert (training.cosine_epochs, training.batch_size, training.learning_rate) == (100, 2, 1e-4)
    else:
        assert (sampling.num_steps, sampling.frames_per_step, config.data.class_agnostic) == (192, 4, True)
        assert (training.epochs, training.batch_size, training.learning_rate) == (15, 16, 1e-3)
