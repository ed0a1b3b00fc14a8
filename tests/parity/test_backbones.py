"""Swin and SlowFast, plain and rewired, against the reference's numbers: outputs, intermediates, gradients.

The networks are built from the sizes that each file carries, so any folder of the same layout serves.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from re2tal.networks.backbones import PathwayConfig, SlowFast, SlowFastConfig, SwinConfig, SwinTrunk
from re2tal.reversible import Mode, rewire
from re2tal.weights import map_names, place


def build_swin(config: dict[str, Any]) -> nn.Module:
    return SwinTrunk(
        SwinConfig(
            embed_dim=config["embed_dim"],
            depths=tuple(config["depths"]),
            num_heads=tuple(config["num_heads"]),
            patch_size=tuple(config["patch_size"]),
            window_size=tuple(config["window_size"]),
            mlp_ratio=config["mlp_ratio"],
        )
    )


def build_slowfast(config: dict[str, Any]) -> nn.Module:
    def pathway(part: dict[str, Any]) -> PathwayConfig:
        return PathwayConfig(
            base_channels=part["base_channels"],
            stem_kernel=tuple(part["conv1_kernel"]),
            temporal_stages=tuple(map(bool, part["inflate"])),
        )

    assert config["resample_rate"] == config["speed_ratio"], "the fast pathway of ours sees every frame"
    return SlowFast(
        SlowFastConfig(
            blocks=tuple(config["slow"]["stage_blocks"]),
            slow=pathway(config["slow"]),
            fast=pathway(config["fast"]),
            frame_ratio=config["resample_rate"],
            fusion_kernel=config["slow"]["fusion_kernel"],
        )
    )


NETWORKS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {"swin": build_swin, "slowfast": build_slowfast}


def intermediates(model: nn.Module, network: str, *, reversible: bool) -> dict[str, tuple[nn.Module, Callable]]:
    """For each `mid:` name of the files: our module with that output, and how to lay it out as stored."""

    def channels_first(x: Tensor) -> Tensor:
        return x.permute(0, 4, 1, 2, 3)

    if network == "slowfast":
        paths = {f"{p}_path.maxpool": f"{p}_path.conv1" for p in ("slow", "fast")}
        paths |= {"slow_path.conv1_lateral": "slow_path.conv1_lateral"}
        paths |= {f"{p}_path.layer{i}": f"{p}_path.layer{i}" for p in ("slow", "fast") for i in range(1, 5)}
        known = dict(model.named_modules())
        return {stored: (known[ours], lambda x: x) for stored, ours in paths.items() if ours in known}
    places = {"patch_embed": (model.patch_embed, channels_first)}
    for stage in range((len(model.features) + 1) // 2):
        # The plain file holds a stage's output before its downsample and channels last, the other the opposite.
        last = 2 * stage + 1 if reversible and 2 * stage + 1 < len(model.features) else 2 * stage
        places[f"layers.{stage}"] = (model.features[last], channels_first if reversible else lambda x: x)
    return places


def assert_close(ours: Tensor, expected: np.ndarray, *, tolerance: float, what: str) -> None:
    reference = torch.from_numpy(expected).double()
    assert ours.shape == reference.shape, what
    error = float((ours - reference).abs().max() / reference.abs().max())
    assert error <= tolerance, f"{what} is off by {error:.1e} of its largest value"


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        ("swin3d.npz", None),
        ("swin3d_inv.npz", "store"),
        ("swin3d_inv.npz", "reversible"),
        ("slowfast.npz", None),
        ("slowfast_inv.npz", "store"),
        ("slowfast_inv.npz", "reversible"),
    ],
)
def test_network_equals_the_reference(goldens: Path, file: str, mode: Mode | None) -> None:
    with np.load(goldens / file) as stored:
        golden = dict(stored)
    config = json.loads(str(golden["config_json"]))
    assert config["reversible"] == (mode is not None)
    model = NETWORKS[config["network"]](config)
    stored_names = [key[3:] for key in golden if key.startswith("sd:")]
    ours = map_names(stored_names).ours
    place({ours[name]: torch.from_numpy(golden[f"sd:{name}"]) for name in stored_names}, model, source=file, fix="")
    if mode is not None:
        rewire(model, mode=mode)
    # In float64: where the input of a ReLU is nearly zero, float32 decides otherwise than the reference now and then.
    model.double().eval()

    seen: dict[str, Tensor] = {}
    for name, (module, layout) in intermediates(model, config["network"], reversible=config["reversible"]).items():
        module.register_forward_hook(lambda _, __, out, name=name, layout=layout: seen.update({name: layout(out)}))
    x = torch.from_numpy(golden["input"]).double().requires_grad_()
    outputs = model(x)
    sum((out * torch.from_numpy(golden[f"cot{i}"])).sum() for i, out in enumerate(outputs)).backward()

    for index, output in enumerate(outputs):
        assert_close(output.detach(), golden[f"out{index}"], tolerance=1e-5, what=f"out{index}")
    mids = [key for key in golden if key.startswith("mid:")]
    assert len(mids) >= 5
    for key in mids:
        assert_close(seen[key[4:]].detach(), golden[key], tolerance=1e-5, what=key)
    assert_close(x.grad, golden["grad_input"], tolerance=1e-4, what="grad_input")
    grads = {name: p.grad for name, p in model.named_parameters()}
    for key in (key for key in golden if key.startswith("grad:")):
        assert_close(grads[ours[key[5:]]], golden[key], tolerance=1e-4, what=key)
    names, norms = golden["grad_norms_names"], golden["grad_norms_all"]
    for name, norm in zip(names, norms, strict=True):
        found = float(grads[ours[str(name)]].double().norm())
        limit = 1e-4 * max(norm, 1e-3 * norms.max())
        assert abs(found - norm) <= limit, f"gradient norm of {name}: {found}, not {norm}"
