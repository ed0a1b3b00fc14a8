"""Whether streams come back bit for bit, and how far gradients are from those of float64."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.experiments.device_check.context import PartContext, Row, attempted
from re2tal.experiments.device_check.measuring import (
    build_with,
    described,
    gradient_errors,
    gradients,
    without_tf32,
)
from re2tal.experiments.device_check.sizes import Sizes
from re2tal.networks.zoo.measuring import wake
from re2tal.reversible import reconstruction_error, rewire
from re2tal.training.precision import Precision

__all__ = ["check_exactness"]

DTYPES: dict[Precision | str, torch.dtype] = {
    "none": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "float64": torch.float64,
}
_MOST_OF_STORED = 1.5
"""Times that a reversible gradient may be as far from float64 as that of plain autograd in the same precision."""
_NOISE = 1e-9
"""What is no error in any precision."""
_FLOOR = 1e-4
"""A gradient that vanishes, of a bias before a norm, say, is rounding noise."""
_FP16_SCALES = [2.0**power for power in range(16, -1, -4)]
"""Of the loss, as a gradient scaler would find one: the first with which nothing overflows."""


def check_exactness(context: PartContext, *, network: str) -> None:
    """Compare, in every precision, the reversible step with the stored one and both with float64."""
    torch.manual_seed(0)
    model, inputs = _subject(network, context.sizes)
    label = f"{network}, reduced" if context.sizes.reduced else network
    model, inputs = model.to(context.device), tuple(_on(x, context.device) for x in inputs)
    with without_tf32():
        exact, _ = gradients(model, *inputs, strategy="stored", dtype=torch.float64)
        for precision in (*context.sizes.precisions, "float64"):
            row: Row = {"network": label, "precision": "float32" if precision == "none" else precision}
            dtype = DTYPES[precision]
            found, reason = attempted(partial(_compared, model, inputs, exact, dtype), device=context.device)
            context.keep(row | (found or {"state": reason, "passed": False}))


def _subject(network: str, sizes: Sizes) -> tuple[nn.Module, tuple[Any, ...]]:
    """A rewired network with fresh weights, and what it takes."""
    pixels = sizes.exact_pixels
    if network == "ViT-B":
        from torchvision.models import VisionTransformer

        size = {"num_layers": 2, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128} if sizes.reduced else _VIT_B
        model = VisionTransformer(image_size=pixels, patch_size=16, num_classes=100, **size)
        wake(model)
        pictures = torch.randn(4, 3, pixels, pixels)
        return rewire(model, example=pictures), (pictures,)
    _, config = described(network, sizes)
    frames = torch.randint(0, 256, (1, 3, sizes.exact_frames, pixels, pixels), dtype=torch.uint8)
    return build_with(config, "reversible"), (frames, sizes.exact_frames // 2)


_VIT_B = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072}


def _on(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _compared(model: nn.Module, inputs: tuple[Any, ...], exact: dict[str, Tensor], dtype: torch.dtype) -> Row:
    scale = _scale(model, inputs) if dtype == torch.float16 else 1.0
    stored, _ = gradients(model, *inputs, strategy="stored", dtype=dtype, scale=scale)
    ours, used = gradients(model, *inputs, strategy="reversible", dtype=dtype, scale=scale)
    lost = reconstruction_error(used, warn_above=float("inf"))
    errors = {
        "to_stored": gradient_errors(ours, stored, floor=_FLOOR)["worst"],
        "to_float64": gradient_errors(ours, exact, floor=_FLOOR)["worst"],
        "stored_to_float64": gradient_errors(stored, exact, floor=_FLOOR)["worst"],
    }
    passed = lost == 0 and errors["to_float64"] <= _MOST_OF_STORED * errors["stored_to_float64"] + _NOISE
    return {"reconstruction_error": lost, **errors, "passed": passed}


def _scale(model: nn.Module, inputs: tuple[Any, ...]) -> float:
    for scale in _FP16_SCALES:
        found, _ = gradients(model, *inputs, strategy="stored", dtype=torch.float16, scale=scale)
        if all(bool(gradient.isfinite().all()) for gradient in found.values()):
            return scale
    return 1.0
