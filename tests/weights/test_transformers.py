"""Weights of video transformers under the names of their authors and others, by what they compute once loaded."""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from re2tal.config.building import build_detector
from re2tal.config.presets import thumos_chunks
from re2tal.experiments.import_weights import import_weights
from re2tal.experiments.pretrained import start_from_pretrained
from re2tal.networks.backbones import (
    InternVideoConfig,
    MvitConfig,
    PlainTransformerConfig,
    VideoMaeConfig,
    VjepaConfig,
    build_backbone,
)
from re2tal.weights import WeightsError, load_detector, load_pretrained, map_names, read_weights
from tests.weights import transformer_files as files
from tests.weights.reference_files import actionformer_entries, numbered, opentad_checkpoint
from tests.weights.transformer_files import DEPTH, HEADS, HIDDEN, PATCH, WIDTH, Weights

pytest.importorskip("transformers")

TINY: dict[str, Any] = {"width": WIDTH, "depth": DEPTH, "heads": HEADS, "hidden": HIDDEN, "patch": PATCH}
SIZE = (24, 24)
SIDE = SIZE[0] // PATCH
PRETRAINED_SIDE = 224 // PATCH
VIDEO_MAE = VideoMaeConfig(**TINY, size=SIZE, clip_frames=8)
VJEPA2 = VjepaConfig(**TINY, size=SIZE, clip_frames=8)
INTERN_VIDEO2 = InternVideoConfig(**TINY, size=SIZE, clip_frames=4)
FRAMES = torch.randn(2, 3, 8, *SIZE, generator=torch.Generator().manual_seed(7))


def pooled(tokens: Tensor, times: int) -> Tensor:
    """(N, t * h * w, C) -> (N, C, t)."""
    return tokens.view(len(tokens), times, -1, WIDTH).mean(2).transpose(1, 2)


def video_mae_features(weights: Weights, frames: Tensor) -> Tensor:
    positions = files.sinusoid_positions((8, PRETRAINED_SIDE, PRETRAINED_SIDE), (4, SIDE, SIDE))
    biases = {
        name.removesuffix(".q_bias"): torch.cat((q, torch.zeros(WIDTH), weights[name.replace("q_bias", "v_bias")]))
        for name, q in weights.items()
        if name.endswith("q_bias")
    }
    x = files.patches(weights, frames) + positions
    return pooled(files.encode(weights, x, norm=files.layer_norm(weights), bias=biases.get), 4)


def vjepa2_features(weights: Weights, frames: Tensor) -> Tensor:
    norm = files.layer_norm(weights)
    x = files.encode(
        weights,
        files.patches(weights, frames),
        norm=norm,
        bias=lambda name: weights[f"{name}.qkv.bias"],
        turn=files.rotated((4, SIDE, SIDE)),
    )
    return pooled(norm(x, "norm"), 4)


def intern_video2_features(weights: Weights, frames: Tensor, *, trained_frames: int) -> Tensor:
    positions = weights["pos_embed"][0]
    grid = (trained_frames, PRETRAINED_SIDE, PRETRAINED_SIDE)
    positions = torch.cat((positions[:1], files.interpolated(positions[1:], grid, (len(frames[0, 0]), SIDE, SIDE))))
    x = torch.cat((weights["cls_token"].expand(len(frames), 1, WIDTH), files.patches(weights, frames)), dim=1)
    x = files.encode(weights, x + positions, norm=files.rms_norm(weights), bias=lambda _: None, scaled=True)
    return pooled(x[:, 1:], frames.shape[2])


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: value for name, value in weights.items()}


def zeros(**shapes: tuple[int, ...]) -> Weights:
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


LAST = zeros(fc_norm__weight=(WIDTH,), fc_norm__bias=(WIDTH,), head__weight=(5, WIDTH), head__bias=(5,))
DECODER = zeros(
    encoder_to_decoder__weight=(8, WIDTH), mask_token=(1, 1, 8), decoder__blocks__0__norm1__weight=(8,),
    decoder__head__bias=(9,),
)  # fmt: skip
VIDEO_MAE_FILES: dict[str, Callable[[Weights], Any]] = {
    "the authors', fine-tuned": lambda w: {"model": w | LAST, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "the authors', before fine-tuning": lambda w: {
        "model": prefixed("encoder.", w | zeros(norm__weight=(WIDTH,), norm__bias=(WIDTH,))) | DECODER
    },
    "V2, by DeepSpeed": lambda w: {"module": w | LAST},
    "V2, as transformers hosts it": lambda w: prefixed("model.", w | zeros(fc_norm__weight=(WIDTH,))),
    "mmaction2's": lambda w: {
        "meta": {},
        "state_dict": prefixed("backbone.", files.as_mmaction2(w) | zeros(pos_embed=(1, 1568, WIDTH)) | LAST)
        | zeros(cls_head__fc_cls__weight=(5, WIDTH), data_preprocessor__mean=(3, 1, 1)),
    },
    "transformers', with a classifier": lambda w: (
        prefixed("videomae.", files.video_mae_as_transformers(w, biases=("q_bias", "v_bias")))
        | zeros(fc_norm__weight=(WIDTH,), classifier__weight=(5, WIDTH))
    ),
    "transformers', newer names": lambda w: files.video_mae_as_transformers(w, biases=("query.bias", "value.bias")),
}


@pytest.mark.parametrize("layout", VIDEO_MAE_FILES)
def test_video_mae_computes_what_its_weights_do(layout: str, tmp_path: Path) -> None:
    weights = files.drawn(files.video_mae())
    expected = video_mae_features(weights, FRAMES)
    assert_loaded(VIDEO_MAE, VIDEO_MAE_FILES[layout](weights), expected, tmp_path / "weights.pth")


VJEPA2_FILES: dict[str, Callable[[Weights], Any]] = {
    "the authors'": lambda w: {
        "encoder": prefixed("module.backbone.", {name: value + 1 for name, value in w.items()}),
        "target_encoder": prefixed("module.backbone.", w | zeros(pos_embed=(1, 8, WIDTH))),
        "predictor": prefixed("module.backbone.", zeros(mask_tokens__0=(1, 1, 8))),
        "opt": {"state": {}},
    },
    "the authors', without an average": lambda w: {"encoder": prefixed("module.backbone.", w)},
    "transformers'": lambda w: files.vjepa2_as_transformers(w) | zeros(predictor__layernorm__weight=(8,)),
    "transformers', with a classifier": lambda w: (
        prefixed("vjepa2.", files.vjepa2_as_transformers(w))
        | zeros(pooler__query_tokens=(1, 1, WIDTH), classifier__weight=(5, WIDTH))
    ),
}


@pytest.mark.parametrize("layout", VJEPA2_FILES)
def test_vjepa2_computes_what_its_weights_do(layout: str, tmp_path: Path) -> None:
    weights = files.drawn(files.vjepa2())
    assert_loaded(VJEPA2, VJEPA2_FILES[layout](weights), vjepa2_features(weights, FRAMES), tmp_path / "weights.pth")


POOLING = zeros(clip_projector__norm1_q__weight=(WIDTH,), clip_projector__cross_attn__q_bias=(WIDTH,))
INTERN_VIDEO2_FILES: dict[str, Callable[[Weights], Any]] = {
    "stage 1": lambda w: (
        w | POOLING | zeros(clip_pos_embed=(1, 3, WIDTH), mae_pos_embed=(1, 3, WIDTH), head__bias=(5,))
    ),
    "stage 1, by DeepSpeed": lambda w: {"module": w | POOLING},
    "stage 2": lambda w: {
        "model": prefixed("vision_encoder.", w | POOLING | zeros(img_pos_embed=(1, 2, WIDTH)))
        | zeros(text_encoder__bert__weight=(3,), vision_proj__bias=(2,), text_proj__bias=(2,), temp=())
    },
}


@pytest.mark.parametrize("trained_frames", [8, 4])
@pytest.mark.parametrize("layout", INTERN_VIDEO2_FILES)
def test_intern_video2_computes_what_its_weights_do(layout: str, trained_frames: int, tmp_path: Path) -> None:
    weights = files.drawn(files.intern_video2(frames=trained_frames, side=PRETRAINED_SIDE))
    frames = FRAMES[:, :, :4]
    expected = intern_video2_features(weights, frames, trained_frames=trained_frames)
    content = INTERN_VIDEO2_FILES[layout](weights)
    assert_loaded(INTERN_VIDEO2, content, expected, tmp_path / "weights.pth", frames=frames)


def assert_loaded(
    config: PlainTransformerConfig, content: Any, expected: Tensor, path: Path, *, frames: Tensor = FRAMES
) -> None:
    torch.save(content, path)
    network = build_backbone(config).network.eval()
    loaded = load_pretrained(network, path=path, kind=config.weight_names, reversible=False)
    assert loaded.file.layout.rewired is False and len(loaded.placement.placed) == len(network.state_dict())
    with torch.no_grad():
        (features,) = network(frames)
    torch.testing.assert_close(features[..., 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_mvit_takes_the_weights_of_torchvision(tmp_path: Path) -> None:
    from torchvision.models.video import mvit_v2_s

    torch.manual_seed(0)
    theirs = mvit_v2_s(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "mvit.safetensors")
    network = build_backbone(MvitConfig(size=(64, 64), clip_frames=4)).network.eval()
    load_pretrained(network, path=tmp_path / "mvit.safetensors", kind="mvit", reversible=False)
    seen: list[Tensor] = []
    theirs.norm.register_forward_hook(lambda *args: seen.append(args[2]))
    theirs.pos_encoding.temporal_size, theirs.pos_encoding.spatial_size = 2, (16, 16)
    frames = torch.randint(0, 256, (1, 3, 4, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        theirs((frames / 255 - 0.45) / 0.225)
        (features,) = network(frames)
    expected = seen[0][:, 1:].view(1, 2, 4, 768).mean(2).transpose(1, 2)
    torch.testing.assert_close(features[..., 0, 0], expected, rtol=1e-4, atol=1e-4)


# Whole files


FULL = [
    *((VideoMaeConfig(architecture=name), files.video_mae) for name in ("small", "base", "large", "huge", "giant")),
    *((VjepaConfig(architecture=name), files.vjepa2) for name in ("large", "huge", "giant")),
    (InternVideoConfig(size=(224, 224)), partial(files.intern_video2, frames=8, side=16)),
]


@pytest.mark.parametrize(("config", "shapes"), FULL, ids=lambda value: getattr(value, "title", None))
def test_every_name_and_shape_of_the_published_sizes_has_its_place(
    config: PlainTransformerConfig, shapes: Callable[[files.Sizes], dict[str, tuple[int, ...]]]
) -> None:
    sizes = config.sizes
    theirs = shapes(files.Sizes(sizes.width, sizes.depth, sizes.hidden, sizes.patch))
    names = map_names(theirs)
    ours = {own: theirs[name] for name, own in names.ours.items()}
    for name, parts in names.cut.items():
        ours |= dict.fromkeys(parts, (theirs[name][0] // len(parts), *theirs[name][1:]))
    with torch.device("meta"):
        network = build_backbone(config).network
    assert ours == {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert names.layout.kind == config.weight_names and not names.dropped


def test_import_finds_the_published_size(tmp_path: Path) -> None:
    shapes = files.video_mae(files.Sizes(384, 12, 1536, 16))
    torch.save({"module": numbered(shapes.items())}, tmp_path / "small.pth")
    done = import_weights(tmp_path / "small.pth", tmp_path / "small.safetensors")
    assert done.network == "VideoMAE small" and not done.placement.differences()


# What does not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("blocks.1.attn.v_bias"), r"only in the model[\s\S]*layer.1.attention.attention.value.bias"),
        (lambda w: w.update(cls_token=torch.zeros(1)), r"unexpected, only in the file[\s\S]*cls_token"),
        (lambda w: w.update({"blocks.0.mlp.fc1.bias": torch.zeros(3)}), r"dense.bias is \(3,\) in the file"),
        (lambda w: w.update({"blocks.0.attn.qkv.weight": torch.zeros(10, WIDTH)}), r"3 equal parts .* \(10, 24\)"),
        (lambda w: w.update({"blocks.0.norm1.bias": torch.full((WIDTH,), torch.nan)}), "hold NaN or infinity"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(change: Callable[[Weights], Any], message: str, tmp_path: Path) -> None:
    weights = files.drawn(files.video_mae())
    change(weights)
    torch.save({"model": weights}, tmp_path / "weights.pth")
    network = build_backbone(VIDEO_MAE).network
    with pytest.raises(WeightsError, match=message):
        load_pretrained(network, path=tmp_path / "weights.pth", kind="videomae", reversible=False)


def test_weights_of_another_family_are_refused(tmp_path: Path) -> None:
    torch.save({"encoder": files.drawn(files.vjepa2())}, tmp_path / "weights.pth")
    with pytest.raises(
        WeightsError, match=r"holds a plain V-JEPA 2 \(its authors\), and the config describes a videomae"
    ):
        load_pretrained(
            build_backbone(VIDEO_MAE).network, path=tmp_path / "weights.pth", kind="videomae", reversible=False
        )


def test_the_log_tells_of_interpolated_positions_and_of_what_rewiring_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(files.drawn(files.video_mae()), path)

    config = VIDEO_MAE.model_copy(update={"pretrained": path, "reversible": True})
    near = config.model_copy(update={"alpha": 0.75, "beta": 0.25})
    with caplog.at_level(logging.INFO):
        start_from_pretrained(build_backbone(near), near)
        assert "positions of 8 x 28 x 28 tokens (time, height, width) are interpolated to 4 x 3 x 3" in caplog.text
        assert "not rewired" not in caplog.text
        start_from_pretrained(build_backbone(config), config)
    assert "they are of the network that is not rewired" in caplog.text


def test_import_leaves_positions_as_they_are(tmp_path: Path) -> None:
    source, imported = tmp_path / "weights.pth", tmp_path / "weights.safetensors"
    weights = files.drawn(files.intern_video2(frames=8, side=PRETRAINED_SIDE))
    torch.save({"module": weights}, source)
    import_weights(source, imported, config=thumos_chunks(name="tiny", backbone=INTERN_VIDEO2.model_copy()))
    file = read_weights(imported)
    assert torch.equal(file.tensors["net.pos_embed"], weights["pos_embed"])
    assert (file.layout.kind, file.layout.writer) == ("internvideo2", "re2tal")
    network = build_backbone(INTERN_VIDEO2).network.eval()
    load_pretrained(network, path=imported, kind="internvideo2", reversible=False)
    frames = FRAMES[:, :, :4]
    expected = intern_video2_features(weights, frames, trained_frames=8)
    with torch.no_grad():
        torch.testing.assert_close(network(frames)[0][..., 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_a_detector_of_opentad(tmp_path: Path) -> None:
    weights = files.drawn(files.video_mae())
    config = thumos_chunks(name="tiny", backbone=VIDEO_MAE)
    theirs = prefixed("backbone.model.backbone.", files.as_mmaction2(weights) | zeros(pos_embed=(1, 1568, WIDTH)))
    rest = actionformer_entries(inputs=WIDTH, channels=512, classes=20)
    state = theirs | numbered((name, shape) for name, _, shape in rest)
    torch.save(
        opentad_checkpoint({name: 0 * value for name, value in state.items()}, averaged=state), tmp_path / "a.pth"
    )
    model = build_detector(config, num_classes=20).eval()
    file = read_weights(tmp_path / "a.pth")
    assert str(file.layout) == "detector with a plain VideoMAE (OpenTAD)" and file.averaged
    load_detector(model, file, kind="videomae", reversible=False)
    with torch.no_grad():
        features = model.backbone(FRAMES, 4)
    torch.testing.assert_close(features, video_mae_features(weights, FRAMES), rtol=1e-4, atol=1e-4)
