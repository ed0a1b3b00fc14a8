"""Every tensor of every published layout, at full size, arrives at its place."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import swin3d_t

from re2tal.config import ExperimentConfig
from re2tal.config.building import build_detector
from re2tal.config.presets import activitynet, thumos
from re2tal.networks.backbones import BackboneConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.weights import load_detector, load_pretrained, read_weights
from tests.weights.reference_files import (
    Entry,
    actionformer_entries,
    classifier,
    numbered,
    opentad_checkpoint,
    slowfast_entries,
    swin_entries,
)

SWIN, SLOWFAST = swin_entries(), slowfast_entries()
NETWORKS: dict[str, tuple[list[Entry], BackboneConfig]] = {
    "swin": (SWIN, SwinConfig()),
    "slowfast": (SLOWFAST, SlowFastConfig()),
}


def without_values(build: Any) -> nn.Module:
    """A network whose memory was never written to: fast to build at any size."""
    with torch.device("meta"):
        model: nn.Module = build()
    return model.to_empty(device="cpu")


def assert_arrived(model: nn.Module, expected: dict[str, Tensor]) -> None:
    """`model` holds exactly `expected`, beside what it computes itself."""
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("position_index")}
    assert set(state) == set(expected)
    for name, value in expected.items():
        assert state[name].shape == value.shape, name
        assert bool((state[name] == value.flatten()[0]).all()), name


def of_network(entries: list[Entry], *, rewired: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors under the reference's names, and the same under ours."""
    tensors = numbered((entry.rewired if rewired else entry.plain, entry.shape) for entry in entries)
    ours = {e.ours: tensors[e.rewired if rewired else e.plain] for e in entries if e.ours is not None}
    return tensors, ours


def test_the_lists_are_as_long_as_the_reference_files() -> None:
    assert len(SWIN) == 183 and len({entry.rewired for entry in SWIN}) == 183
    assert len(SLOWFAST) == 1252 and len({entry.rewired for entry in SLOWFAST}) == 1252


@pytest.mark.parametrize("rewired", [False, True], ids=["mmaction2", "re2tal"])
@pytest.mark.parametrize("kind", ["swin", "slowfast"])
def test_backbones(tmp_path: Path, kind: str, rewired: bool) -> None:
    entries, config = NETWORKS[kind]
    tensors, ours = of_network(entries, rewired=rewired)
    path = tmp_path / "weights.pth"
    recogniser = {f"backbone.{name}": value for name, value in tensors.items()} | classifier(config.out_channels)
    torch.save({"meta": {"epoch": 30, "cfg": "model = dict()"}, "state_dict": recogniser}, path)
    network = without_values(lambda: build_backbone(config.model_copy(update={"reversible": rewired})).network)
    done = load_pretrained(network, path=path, kind=config.kind, reversible=rewired)
    assert_arrived(network, ours)
    assert done.placement.differences() == "" and done.warning is None
    assert (done.file.layout.writer, done.file.layout.rewired) == ("Re2TAL" if rewired else "mmaction2", rewired)
    recomputed = [f"backbone.{e.rewired if rewired else e.plain}" for e in entries if e.ours is None]
    assert set(done.placement.dropped) == {*recomputed, "cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}


@pytest.mark.parametrize("kind", ["swin", "slowfast"])
def test_bare_state_dicts_without_prefix(tmp_path: Path, kind: str) -> None:
    entries, config = NETWORKS[kind]
    tensors, ours = of_network(entries, rewired=True)
    torch.save(tensors, tmp_path / "weights.pth")
    network = without_values(lambda: build_backbone(config).network)
    done = load_pretrained(network, path=tmp_path / "weights.pth", kind=config.kind, reversible=False)
    assert_arrived(network, ours)
    assert done.warning is not None and "rewired network" in done.warning


def test_torchvision(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in swin3d_t().state_dict().items()}
    tensors = numbered(shapes.items())
    torch.save(tensors, tmp_path / "swin3d_t.pth")
    network = without_values(lambda: build_backbone(SwinConfig()).network)
    done = load_pretrained(network, path=tmp_path / "swin3d_t.pth", kind="swin", reversible=False)
    kept = {n: v for n, v in tensors.items() if not n.startswith("head.") and not n.endswith("position_index")}
    assert len(kept) == 171
    assert_arrived(network, kept)
    assert {name for name in done.placement.dropped if "index" not in name} == {"head.weight", "head.bias"}
    assert done.file.layout.writer == "torchvision"


def of_detector(config: ExperimentConfig, *, rewired: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of a detector of OpenTAD under its names, and the same under ours."""
    entries = NETWORKS[config.backbone.kind][0]
    tensors, ours = of_network(entries, rewired=rewired)
    tensors = {f"backbone.model.backbone.{name}": value for name, value in tensors.items()}
    ours = {f"backbone.network.{name}": value for name, value in ours.items()}
    classes = config.data.num_classes or 1
    rest = actionformer_entries(inputs=config.backbone.out_channels, channels=config.pyramid.channels, classes=classes)
    assert len(rest) == 230
    values = numbered(((theirs, shape) for theirs, _, shape in rest), start=len(tensors) + 1)
    return tensors | values, ours | {own: values[theirs] for theirs, own, _ in rest}


@pytest.mark.parametrize(
    ("preset", "kind", "rewired", "has_average"),
    [
        (thumos, "swin", True, True),
        (thumos, "slowfast", False, True),
        (activitynet, "swin", False, False),
        (activitynet, "slowfast", True, False),
    ],
)
def test_detectors(tmp_path: Path, preset: Any, kind: str, rewired: bool, has_average: bool) -> None:
    backbone = NETWORKS[kind][1].model_copy(update={"reversible": rewired})
    config = preset(name="detector", backbone=backbone)
    tensors, ours = of_detector(config, rewired=rewired)
    path = tmp_path / "epoch_119.pth"
    last = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in tensors.items()}
    content = opentad_checkpoint(last, averaged=tensors) if has_average else opentad_checkpoint(tensors, averaged=None)
    torch.save(content, path)

    file = read_weights(path)
    assert (file.epoch, file.averaged, file.layout.rewired) == (119, has_average, rewired)
    assert (file.layout.part, file.layout.writer, file.class_names) == ("detector", "OpenTAD", None)
    model = without_values(lambda: build_detector(config, num_classes=config.data.num_classes or 1))
    placement = load_detector(model, file, kind=backbone.kind, reversible=rewired)
    assert placement.differences() == ""
    assert_arrived(model, ours)
    assert model.get_buffer("head.loss_normalizer").dtype == torch.float32

    network = model.get_submodule("backbone.network")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    load_pretrained(network, path=path, kind=backbone.kind, reversible=rewired)
    prefix = "backbone.network."
    assert_arrived(network, {n.removeprefix(prefix): v for n, v in ours.items() if n.startswith(prefix)})


def test_old_batch_norms_without_a_count_are_complete(tmp_path: Path) -> None:
    tensors, _ = of_network(SLOWFAST, rewired=False)
    torch.save({n: v for n, v in tensors.items() if not n.endswith("num_batches_tracked")}, tmp_path / "old.pth")
    network = without_values(lambda: build_backbone(SlowFastConfig()).network)
    done = load_pretrained(network, path=tmp_path / "old.pth", kind="slowfast", reversible=False)
    assert len(done.placement.placed) == 1252 - 208 and done.placement.differences() == ""
