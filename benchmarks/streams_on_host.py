"""Bytes that a rewired backbone keeps for its backward pass, on a GPU and on the host, counted without values.

    python benchmarks/streams_on_host.py [--frames 1024] [--size 224] [--json]

With and without `backbone.streams_on_host`, on a GPU that need not be there; tiles of a 64th of 24 GiB.
"""

import argparse
import json
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from re2tal.networks.backbones import BackboneConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.reversible import host_memory

BACKBONES: dict[str, BackboneConfig] = {"Swin-T": SwinConfig(), "SlowFast-101": SlowFastConfig()}


class NoValues(TorchDispatchMode):
    """Answers what is asked of tensors that have no values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else False
        if func is torch.ops.aten.equal.default:
            return True
        return func(*args, **(kwargs or {}))


def bytes_kept(config: BackboneConfig, *, clip: tuple[int, ...], on_host: bool) -> dict[str, int]:
    """By where they are, "cuda" and "cpu", after a forward pass of a clip of such a shape; without parameters."""
    found = {"cuda": 0, "cpu": 0}
    to_host = host_memory._to_host
    generator = torch.zeros(1, dtype=torch.uint8)

    def counted(tensor: Tensor) -> tuple[torch.device, Tensor]:
        kept = to_host(tensor)
        found[kept[1].device.type] += kept[1].nbytes
        return kept

    config = config.model_copy(update={"reversible": True, "streams_on_host": on_host, "tile_mib": 384})
    with (
        patch.object(host_memory, "_to_host", counted),
        patch.object(torch.cuda, "get_rng_state", lambda device: generator),
        patch.object(torch.cuda, "set_rng_state", lambda state, device: None),
        FakeTensorMode(allow_non_fake_inputs=True),
        NoValues(),
    ):
        with torch.device("cuda"):
            model = build_backbone(config).train()
            frames = torch.zeros(clip, dtype=torch.uint8)
        parameters = {id(parameter) for parameter in model.parameters()}

        def on_device(tensor: Tensor) -> Tensor:
            found["cuda"] += 0 if id(tensor) in parameters else tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(on_device, lambda tensor: tensor):
            model.network(frames)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1024)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    clip = (1, 3, args.frames, args.size, args.size)
    rows = [
        {"network": name, "streams_on_host": on_host, **bytes_kept(config, clip=clip, on_host=on_host)}
        for name, config in BACKBONES.items()
        for on_host in (False, True)
    ]
    if args.json:
        print(json.dumps({"frames": args.frames, "size": args.size, "rows": rows}))
        return
    print(f"{'network':14} {'streams_on_host':16} {'on the GPU':>12} {'on the host':>12}")
    for row in rows:
        gpu, host = (f"{int(row[kind]) / 2**20:,.0f} MiB" for kind in ("cuda", "cpu"))
        print(f"{row['network']:14} {row['streams_on_host']!s:16} {gpu:>12} {host:>12}")


if __name__ == "__main__":
    main()
