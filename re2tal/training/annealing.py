"""From the network that was rewired to the rewired one while it is trained: the coefficients of its streams.

Zhao et al., "Dr2Net: Dynamic Reversible Dual-Residual Networks for Memory-Efficient Finetuning", CVPR 2024.
"""

from collections.abc import Sequence

from torch import nn

from re2tal import reversible

__all__ = ["Annealing", "annealed", "coefficients", "require_anneal_range", "set_coefficients"]

Pair = tuple[float, float]
"""Alpha and beta."""

_RE2TAL: Pair = (0.0, 1.0)


def annealed(step: int, *, start: Pair, steps: int) -> Pair:
    """The coefficients at optimizer step `step` (from 0): linearly from `start`, at the last of `steps` Re2TAL's."""
    share = min(step / max(steps - 1, 1), 1.0)
    alpha, beta = (first + (last - first) * share for first, last in zip(start, _RE2TAL, strict=True))
    return alpha, beta


def require_anneal_range(epochs: float, *, start: Pair) -> None:
    """Refuse a config that anneals for `epochs` what is at its end already."""
    if epochs and start == _RE2TAL:
        raise ValueError(
            "training.anneal_epochs leads from backbone.alpha and backbone.beta to 0 and 1, and there they are; begin "
            "with backbone.alpha=0.9 and backbone.beta=0.1, say, or set training.anneal_epochs=0"
        )


class Annealing:
    """Sets the coefficients of models' backbones; they are a function of the step alone.

    Args:
        models: that go together, the same network in each; those of their chains are set.
        steps: that it takes; 0 leaves them as they are.
    """

    def __init__(self, models: Sequence[nn.Module], *, steps: int) -> None:
        self.models, self.steps = models, steps
        self.start = coefficients(models[0])
        if steps and self.start is None:
            raise ValueError(
                "training.anneal_epochs is for a rewired backbone, and this one has no reversible chain; "
                "set backbone.reversible=True, or training.anneal_epochs=0"
            )

    def set_step(self, step: int) -> None:
        """Set the coefficients that optimizer step `step` (from 0) uses."""
        if self.steps and self.start is not None:
            values = annealed(step, start=self.start, steps=self.steps)
            for model in self.models:
                set_coefficients(model, values)


def coefficients(model: nn.Module) -> Pair | None:
    """Of the streams of a rewired network; None of any other."""
    return next(((chain.alpha, chain.beta) for chain in reversible.coefficients(model)), None)


def set_coefficients(model: nn.Module, values: Pair | None) -> None:
    """Set what `coefficients` gave; nothing for a network without chains."""
    if values is not None and any(True for _ in reversible.chains(model)):
        reversible.set_coefficients(model, alpha=values[0], beta=values[1])
