"""The reference's golden networks, written as its files and imported through the public way, give its outputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from re2tal.config.building import build_detector
from re2tal.config.presets import activitynet, thumos
from re2tal.experiments.import_weights import import_weights
from re2tal.networks.backbones import BackboneConfig, PathwayConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.networks.detector import Detector
from re2tal.networks.pyramid import PyramidConfig
from re2tal.weights import load_detector, load_pretrained, read_weights
from tests.weights.reference_files import (
    Pathway,
    actionformer_entries,
    classifier,
    numbered,
    opentad_checkpoint,
    slowfast_entries,
    swin_entries,
)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Tensor]]:
    """Arrays, sizes and state dict of a golden file."""
    with np.load(path) as stored:
        arrays = dict(stored)
    state = {name[3:]: torch.from_numpy(arrays[name]) for name in arrays if name.startswith("sd:")}
    return arrays, json.loads(str(arrays["config_json"])), state


def backbone_of(sizes: dict[str, Any]) -> BackboneConfig:
    if sizes["network"] == "swin":
        return SwinConfig(
            embed_dim=sizes["embed_dim"],
            depths=tuple(sizes["depths"]),
            num_heads=tuple(sizes["num_heads"]),
            reversible=sizes["reversible"],
        )

    def pathway(part: dict[str, Any]) -> PathwayConfig:
        return PathwayConfig(
            base_channels=part["base_channels"],
            stem_kernel=tuple(part["conv1_kernel"]),
            temporal_stages=tuple(map(bool, part["inflate"])),
        )

    return SlowFastConfig(
        blocks=tuple(sizes["slow"]["stage_blocks"]),
        slow=pathway(sizes["slow"]),
        fast=pathway(sizes["fast"]),
        frame_ratio=sizes["resample_rate"],
        fusion_kernel=sizes["slow"]["fusion_kernel"],
        reversible=sizes["reversible"],
    )


def assert_close(actual: Tensor, expected: np.ndarray) -> None:
    reference = torch.from_numpy(expected)
    assert actual.shape == reference.shape
    assert float((actual - reference).abs().max()) <= 1e-5 * float(reference.abs().max())


@pytest.mark.parametrize("file", ["swin3d.npz", "swin3d_inv.npz", "slowfast.npz", "slowfast_inv.npz"])
def test_backbones(goldens: Path, tmp_path: Path, file: str) -> None:
    arrays, sizes, state = read(goldens / file)
    backbone = backbone_of(sizes)
    source, imported = tmp_path / "golden.pth", tmp_path / "golden.safetensors"
    recogniser = {f"backbone.{name}": value for name, value in state.items()} | classifier(8)
    torch.save({"meta": {}, "state_dict": recogniser}, source)
    import_weights(source, imported, config=thumos(name="golden", backbone=backbone))
    for path in (source, imported):
        network = build_backbone(backbone).network.eval()
        done = load_pretrained(network, path=path, kind=backbone.kind, reversible=backbone.reversible)
        assert done.file.layout.rewired is sizes["reversible"] and done.warning is None
        with torch.no_grad():
            outputs = network(torch.from_numpy(arrays["input"]))
        for index, output in enumerate(outputs):
            assert_close(output, arrays[f"out{index}"])


@pytest.mark.parametrize("averaged", [True, False])
@pytest.mark.parametrize("data", ["thumos", "anet"])
def test_pyramid_and_head_of_detectors(goldens: Path, tmp_path: Path, data: str, averaged: bool) -> None:
    arrays, sizes, state = read(goldens / f"actionformer_{data}.npz")
    dim = sizes["in_channels"] // 4
    backbone = SwinConfig(embed_dim=dim, depths=(1, 1, 1), num_heads=(1, 1, 1), reversible=True)
    config = {"thumos": thumos, "anet": activitynet}[data](name="golden", backbone=backbone)
    pyramid = PyramidConfig(
        channels=sizes["out_channels"], max_steps=sizes["max_seq_len"], position_code=config.pyramid.position_code
    )
    config = config.model_copy(update={"pyramid": pyramid})
    entries = swin_entries(embed_dim=dim, depths=(1, 1, 1), heads=(1, 1, 1))
    network = numbered((f"backbone.model.backbone.{entry.rewired}", entry.shape) for entry in entries)
    last = {name: torch.zeros_like(value) for name, value in (network | state).items()}
    content = (
        opentad_checkpoint(last, averaged=network | state)
        if averaged
        else opentad_checkpoint(network | state, averaged=None)
    )
    source, imported = tmp_path / "epoch_119.pth", tmp_path / "detector.safetensors"
    torch.save(content, source)
    import_weights(source, imported, config=config)
    for path in (source, imported):
        model = build_detector(config, num_classes=sizes["num_classes"]).eval()
        file = read_weights(path)
        assert file.averaged is averaged and file.epoch == 119
        load_detector(model, file, kind="swin", reversible=True)
        assert_proposals(model, arrays)


def assert_proposals(model: Detector, arrays: dict[str, np.ndarray]) -> None:
    features, mask = torch.from_numpy(arrays["input"]), torch.from_numpy(arrays["mask"])
    with torch.no_grad():
        proposals = model.head.proposals(model.head(*model.pyramid(features, mask)))
    for index, clip in enumerate(proposals):
        assert_close(clip.segments, arrays[f"proposals{index}"])
        assert_close(clip.scores, arrays[f"scores{index}"])


def named_by_us(sizes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a golden file, by the lists that the tests of the layouts are made of."""
    if "preset" in sizes:
        entries = actionformer_entries(
            inputs=sizes["in_channels"], channels=sizes["out_channels"], classes=sizes["num_classes"]
        )
        return {theirs: shape for theirs, _, shape in entries}
    if sizes["network"] == "swin":
        network = swin_entries(
            embed_dim=sizes["embed_dim"], depths=tuple(sizes["depths"]), heads=tuple(sizes["num_heads"])
        )
    else:
        slow, fast = (
            Pathway(name, part["base_channels"], tuple(part["conv1_kernel"]), tuple(map(bool, part["inflate"])))
            for name, part in (("slow", sizes["slow"]), ("fast", sizes["fast"]))
        )
        network = slowfast_entries(
            blocks=tuple(sizes["slow"]["stage_blocks"]), slow=slow, fast=fast, fusion=sizes["slow"]["fusion_kernel"]
        )
    return {entry.rewired if sizes["reversible"] else entry.plain: entry.shape for entry in network}


@pytest.mark.parametrize(
    "file",
    [
        "swin3d.npz",
        "swin3d_inv.npz",
        "slowfast.npz",
        "slowfast_inv.npz",
        "actionformer_thumos.npz",
        "actionformer_anet.npz",
    ],
)
def test_the_lists_of_names_are_the_reference_ones(goldens: Path, file: str) -> None:
    _, sizes, state = read(goldens / file)
    left_out = ("relative_position_index", "num_batches_tracked")
    ours = {name: shape for name, shape in named_by_us(sizes).items() if not name.endswith(left_out)}
    assert ours == {name: tuple(value.shape) for name, value in state.items()}
