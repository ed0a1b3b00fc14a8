"""What `types` is written with: an error for what does not hold, shapes where values are printed."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["FrameChange", "ShapesInRepr", "require"]

FrameChange = Callable[[Tensor], Tensor]
"""Maps (3, T, H, W) uint8 frames, on any device, to as many others; can be pickled."""


def require(condition: bool, message: str) -> None:
    """Raise a ValueError unless `condition` holds."""
    if not condition:
        raise ValueError(message)


class ShapesInRepr:
    """Print the shapes of tensors, not their numbers."""

    def __repr__(self) -> str:
        def show(value: Any) -> str:
            if isinstance(value, Tensor):
                return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
            if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
                return f"({', '.join(show(item) for item in value)})"
            return repr(value)

        return f"{type(self).__name__}({', '.join(f'{name}={show(value)}' for name, value in vars(self).items())})"
