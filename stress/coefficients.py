"""Whether streams come back bit for bit with Dr2Net's coefficients, what that costs, and what it would be without.

    python stress/coefficients.py

For alpha from 1 to 0 and beta from 0 to 1, with torchvision's Video Swin-T and a vision transformer in float32:
bytes kept for an element and module, measured; the error of recovered streams, which must be 0; the same if what
scaling dropped were not kept; the worst gradient against plain autograd through the same computation; and how far the
output is from that of the network that was rewired. Ends with status 1 if a stream does not come back, or a gradient is
off by more than 1e-4 (float32) or 1e-10 (float64, reduced networks).
"""

import argparse
import copy
import json
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.video import swin3d_t

from re2tal.reversible import (
    Coefficients,
    chains,
    coefficients,
    reconstruction_error,
    rewire,
    set_coefficients,
    set_mode,
    verify,
)

COEFFICIENTS = [
    (1.0, 0.0),
    (1.0, 1 / 1024),
    (1.0, 1 / 64),
    (1.0, 0.1),
    (0.75, 0.25),
    (0.5, 0.5),
    (0.25, 0.75),
    (0.0, 1.0),
]


@dataclass(frozen=True)
class Forgetful(Coefficients):
    """As if nothing were kept: of the numbers that become the same one, the smallest comes back."""

    def unmix(self, w: Tensor, v: Tensor, dropped: Tensor | None) -> None:
        super().unmix(w, v, None if dropped is None else torch.zeros_like(dropped))


def swin(frames: int, size: int) -> tuple[nn.Module, Tensor]:
    return swin3d_t(weights=None), torch.randn(1, 3, frames, size, size)


def vit(size: int) -> tuple[nn.Module, Tensor]:
    model = VisionTransformer(
        image_size=size, patch_size=8, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=10
    )
    nn.init.normal_(model.heads[0].weight, std=0.02)
    return model, torch.randn(2, 3, size, size)


def error_of(model: nn.Module, x: Tensor) -> float:
    model(x).square().sum().backward()
    error = reconstruction_error(model, warn_above=float("inf"))
    model.zero_grad(set_to_none=True)
    assert error is not None
    return error


def measure(name: str, model: nn.Module, x: Tensor) -> list[dict[str, object]]:
    model = model.eval()
    with torch.no_grad():
        original = model(x)
    model = rewire(model, example=x)
    model.requires_grad_()
    set_coefficients(model, alpha=0, beta=1)
    bare = verify(model, x).saved_bytes
    elements = elements_of(model, x)
    rows: list[dict[str, object]] = []
    for alpha, beta in COEFFICIENTS:
        set_coefficients(model, alpha=alpha, beta=beta)
        checked = verify(model, x)
        set_mode(model, "reversible")
        error = error_of(model, x)
        for chain in chains(model):
            chain.coefficients = Forgetful(chain.coefficients.alpha, chain.coefficients.beta)
        forgetful = error_of(model, x) if beta else None
        set_coefficients(model, alpha=alpha, beta=beta)
        with torch.no_grad():
            distance = float((model(x) - original).norm() / original.norm())
        rows.append(
            {
                "network": name,
                "alpha": alpha,
                "beta": coefficients(model)[0].beta,
                "bytes_per_element_and_module": (checked.saved_bytes - bare) / elements,
                "stream_error": max(error, checked.reconstruction_error),
                "stream_error_if_forgotten": forgetful,
                "gradient_error": checked.worst[1],
                "distance_to_original": distance,
            }
        )
    return rows


def elements_of(model: nn.Module, x: Tensor) -> int:
    """Elements of a stream times modules, over all chains: what beta = 0 keeps, which is whole streams."""
    set_coefficients(model, alpha=0, beta=1)
    without = verify(model, x).saved_bytes
    set_coefficients(model, alpha=0, beta=0)
    return (verify(model, x).saved_bytes - without) // x.element_size()


def in_float64(seed: int) -> float:
    """The worst gradient of small networks, over all coefficients."""
    torch.manual_seed(seed)
    networks = [
        VisionTransformer(image_size=16, patch_size=8, num_layers=6, num_heads=2, hidden_dim=16, mlp_dim=32),
        nn.Sequential(*swin3d_t(weights=None).features[:1]),
    ]
    examples = [torch.randn(2, 3, 16, 16), torch.randn(1, 4, 16, 16, 96)]
    worst = 0.0
    for model, x in zip(networks, examples, strict=True):
        for alpha, beta in COEFFICIENTS:
            rewired = rewire(copy.deepcopy(model).double(), example=x.double())
            set_coefficients(rewired, alpha=alpha, beta=beta)
            worst = max(worst, verify(rewired, x.double()).worst[1])
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16, help="of the Video Swin's clip")
    parser.add_argument("--size", type=int, default=96, help="of pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rows = measure("swin3d_t", *swin(options.frames, options.size)) + measure("vit, 12 blocks", *vit(options.size))
    double = in_float64(options.seed)
    kept = all(row["stream_error"] == 0 and float(str(row["gradient_error"])) <= 1e-4 for row in rows)
    passed = kept and double <= 1e-10
    if options.json:
        print(json.dumps({"rows": rows, "gradient_error_float64": double, "passed": passed}))
    else:
        print("network         alpha  beta    bytes  stream error  if forgotten  gradient error  distance to original")
        for row in rows:
            forgotten = row["stream_error_if_forgotten"]
            print(
                f"{row['network']:<15} {row['alpha']:<6} {row['beta']:<7.5f}",
                f"{row['bytes_per_element_and_module']:<6.3f} {row['stream_error']:<13.1e}",
                f"{'lost' if forgotten is None else f'{forgotten:.1e}':<13} {row['gradient_error']:<15.1e}",
                f"{row['distance_to_original']:.1e}",
            )
        print(f"worst gradient in float64: {double:.1e}")
        print("passed" if passed else "FAILED")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
