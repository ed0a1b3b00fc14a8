"""Put weights where they belong, and tell name by name what does not fit. Nothing else loads weights into a model."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import Tensor, nn

from re2tal.common.untrusted import some
from re2tal.weights.errors import WeightsError
from re2tal.weights.names import is_recomputed

__all__ = ["Difference", "Placement", "compare", "place", "refuse", "require_finite"]

_MOST_NAMED = 10
"""Differences of each kind that an error names."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A tensor that has no place, or a place that has no tensor."""

    name: str
    in_file: Shape | None
    in_model: Shape | None

    def __str__(self) -> str:
        if self.in_file is not None and self.in_model is not None:
            return f"{self.name} is {self.in_file} in the file, {self.in_model} in the model"
        return f"{self.name} {self.in_file if self.in_model is None else self.in_model}"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the weights of a file went; names are ours, but for most of `dropped`."""

    placed: tuple[str, ...]
    missing: tuple[Difference, ...]
    """Only in the model."""
    unexpected: tuple[Difference, ...]
    """Only in the file."""
    of_another_shape: tuple[Difference, ...]
    dropped: Mapping[str, str] = field(default_factory=dict)
    """What was left out before on purpose -> why; see `WeightsFile`."""
    allow: tuple[str, ...] = ()
    """Patterns of the names that may differ."""

    @property
    def refused(self) -> tuple[Difference, ...]:
        """The differences that no pattern allows."""
        differences = (*self.missing, *self.unexpected, *self.of_another_shape)
        return tuple(item for item in differences if not any(fnmatchcase(item.name, rule) for rule in self.allow))

    def differences(self, *, most: int | None = None) -> str:
        """What does not fit, name by name, one on a line, of each kind at most so many; empty if everything does."""
        parts = {
            "missing, only in the model": self.missing,
            "unexpected, only in the file": self.unexpected,
            "of another shape": self.of_another_shape,
        }
        return "".join(
            f"\n  {title} ({len(items)}):"
            + "".join(f"\n    {item}" for item in items[:most])
            + (f"\n    and {len(items) - most} more" if most is not None and len(items) > most else "")
            for title, items in parts.items()
            if items
        )

    def __str__(self) -> str:
        parts = Counter(".".join(name.split(".")[:2]) for name in self.placed)
        lines = [f"placed {len(self.placed)}: " + ", ".join(f"{part} {count}" for part, count in parts.items())]
        for reason in dict.fromkeys(self.dropped.values()):
            names = [name for name, why in self.dropped.items() if why == reason]
            lines.append(f"  dropped, {reason} ({len(names)}):" + "".join(f"\n    {name}" for name in names))
        return "\n".join(lines) + self.differences()


def compare(
    weights: Mapping[str, Tensor],
    model: nn.Module,
    *,
    allow: Sequence[str] = (),
    fresh: Collection[str] = (),
    dropped: Mapping[str, str] | None = None,
) -> Placement:
    """Which of `weights` have a place in `model`, by name and shape.

    Tensors that the model computes itself do not count on either side, and a batch norm's count of its batches may
    be missing: old files lack it, and it is used for nothing here.

    Args:
        weights: under our names.
        allow: patterns (as of `fnmatch`) of names that may differ.
        fresh: names of the model that need not be among the weights.
        dropped: for the report: what was left out of `weights` before, and why.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items() if not is_recomputed(name)}
    found = {name: tuple(value.shape) for name, value in weights.items() if not is_recomputed(name)}
    return Placement(
        placed=tuple(name for name, shape in expected.items() if found.get(name) == shape),
        missing=_differences(
            (
                name
                for name in expected
                if name not in found and name not in fresh and not name.endswith(".num_batches_tracked")
            ),
            found,
            expected,
        ),
        unexpected=_differences((name for name in found if name not in expected), found, expected),
        of_another_shape=_differences(
            (name for name, shape in expected.items() if found.get(name, shape) != shape), found, expected
        ),
        dropped=dropped or {},
        allow=tuple(allow),
    )


def place(
    weights: Mapping[str, Tensor],
    model: nn.Module,
    *,
    source: object,
    fix: str,
    allow: Sequence[str] = (),
    fresh: Collection[str] = (),
    dropped: Mapping[str, str] | None = None,
) -> Placement:
    """Load `weights` into `model`, in the model's own types; what is allowed to differ stays as it is there.

    Args:
        weights: under our names.
        source: where they come from, for the message.
        fix: what to do if they do not fit, for the message.
        allow: see `compare`.
        fresh: see `compare`.
        dropped: see `compare`.

    Raises:
        WeightsError: something does not fit and is not allowed to, or is not finite; the model is left as it was.
    """
    placement = compare(weights, model, allow=allow, fresh=fresh, dropped=dropped)
    refuse(placement, source=source, fix=fix)
    own = model.state_dict()
    # In the model's types, in which what was finite may overflow.
    placed = {name: weights[name].to(own[name].dtype) for name in placement.placed}
    require_finite(placed, source=source)
    model.load_state_dict(placed, strict=False)
    return placement


def require_finite(weights: Mapping[str, Tensor], *, source: object) -> None:
    """Raise a WeightsError if a tensor holds NaN or infinity: a network with such weights finds nothing, in silence."""
    broken = [
        (name, int((~value.isfinite()).sum()), value.numel())
        for name, value in weights.items()
        if value.is_floating_point() and not value.is_meta and not bool(value.isfinite().all())
    ]
    if broken:
        name, count, numbers = broken[0]
        raise WeightsError(
            f"{len(broken)} of {len(weights)} tensors of {source} hold NaN or infinity, such as {name} ({count} of "
            f"{numbers} numbers); such weights are broken: take an earlier checkpoint, or download the file again"
        )


def refuse(placement: Placement, *, source: object, fix: str) -> None:
    """Raise a WeightsError that lists the differences name by name, unless all are allowed and something fits."""
    if not placement.placed:
        raise WeightsError(
            f"{source} has no tensor that fits the model{placement.differences(most=_MOST_NAMED)}\n{fix}"
        )
    if refused := placement.refused:
        raise WeightsError(
            f"{source} does not fit the model: {len(placement.placed)} tensors do, {len(refused)} do not"
            + (f" and are not allowed to by {some(placement.allow)}" if placement.allow else "")
            + f"{placement.differences(most=_MOST_NAMED)}\n{fix}"
        )


def _differences(
    names: Iterable[str], found: Mapping[str, Shape], expected: Mapping[str, Shape]
) -> tuple[Difference, ...]:
    return tuple(Difference(name=name, in_file=found.get(name), in_model=expected.get(name)) for name in names)
