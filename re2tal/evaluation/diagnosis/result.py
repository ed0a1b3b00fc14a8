"""What a diagnosis says, as values and as JSON.

I thresholds, 10 groups of predictions. Every figure is a fraction in [0, 1], not a percentage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from re2tal.evaluation import MapResult

__all__ = [
    "ERROR_TYPES",
    "NUM_GROUPS",
    "BinFigures",
    "CharacteristicFigures",
    "CharacteristicName",
    "Diagnosis",
    "ErrorType",
    "FalsePositiveProfile",
]

ErrorType = Literal["true_positive", "double_detection", "wrong_label", "localization", "confusion", "background"]
ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)
"""What a prediction can be; the first is no error."""
CharacteristicName = Literal["coverage", "length", "num_instances"]
NUM_GROUPS = 10
"""Of each class with G actions, the best 10 G predictions are looked at, in groups of G."""


@dataclass(frozen=True, kw_only=True)
class FalsePositiveProfile:
    """What the best predictions are: of each class with G actions the best 10 G, group by group."""

    tious: tuple[float, ...]
    """I thresholds."""
    group_sizes: tuple[int, ...]
    """Predictions in each of the 10 groups; the first holds the best G of every class, the second the next G."""
    counts: dict[ErrorType, tuple[tuple[int, ...], ...]]
    """Of each type, I rows of 10: how many predictions of the group are of it. The types sum to `group_sizes`."""
    mean_ap: tuple[float, ...]
    """I: mAP of the predictions looked at."""
    normalized_mean_ap: tuple[float, ...]
    """I: their normalised mAP."""
    gain: dict[ErrorType, tuple[float, ...]]
    """Of each error type, I: how much higher `mean_ap` is once the errors are taken out."""
    normalized_gain: dict[ErrorType, tuple[float, ...]]
    """Of each error type, I: how much higher `normalized_mean_ap` is, as published diagnoses show it."""

    @property
    def num_predictions(self) -> int:
        """Predictions looked at."""
        return sum(self.group_sizes)

    def group_shares(self, error: ErrorType) -> tuple[float, ...]:
        """10 shares of the groups that are of a type, averaged over the thresholds; 0 for an empty group."""
        totals = (sum(rows) / len(self.tious) for rows in zip(*self.counts[error], strict=True))
        return tuple(total / size if size else 0.0 for total, size in zip(totals, self.group_sizes, strict=True))

    def share(self, error: ErrorType) -> float:
        """The share of all predictions looked at that is of a type, averaged over the thresholds."""
        total = sum(map(sum, self.counts[error])) / len(self.tious)
        return total / self.num_predictions if self.num_predictions else 0.0

    def as_json(self) -> dict[str, Any]:
        """Counts by type and threshold, shares by type, gains by type and metric."""
        return {
            "num_predictions": self.num_predictions,
            "group_sizes": list(self.group_sizes),
            "counts": {
                error: {f"{tiou:g}": list(row) for tiou, row in zip(self.tious, rows, strict=True)}
                for error, rows in self.counts.items()
            },
            "group_shares": {error: list(self.group_shares(error)) for error in self.counts},
            "share": {error: self.share(error) for error in self.counts},
            **named(self.tious, self.mean_ap),
            **named(self.tious, self.normalized_mean_ap, metric="normalized_mAP"),
            "gain": {error: named(self.tious, values) for error, values in self.gain.items()},
            "normalized_gain": {
                error: named(self.tious, values, metric="normalized_mAP")
                for error, values in self.normalized_gain.items()
            },
        }


@dataclass(frozen=True, kw_only=True)
class BinFigures:
    """How well the actions of one bin of a characteristic are found."""

    name: str
    """XS, S, M, L or XL."""
    low: float
    high: float
    """Values above `low` up to `high`; the first bin takes its `low` too. `high` may be infinite."""
    num_actions: int
    normalized_mean_ap: tuple[float, ...] | None
    """I: normalised mAP of the actions of this bin alone; None if it has none. Predictions that find another action at
    any of the thresholds are left out, so that one threshold's figure depends on which others there are."""
    false_negative_rate: tuple[float, ...] | None
    """I: the share of its actions that no prediction finds; None if it has none."""


@dataclass(frozen=True, kw_only=True)
class CharacteristicFigures:
    """Sensitivity and false negatives by one characteristic of the actions."""

    tious: tuple[float, ...]
    """I thresholds."""
    name: CharacteristicName
    bins: tuple[BinFigures, ...]
    """From small values to large ones, empty bins included."""
    num_unknown: int
    """Actions left out, since the annotations do not tell the length of their video (coverage only)."""

    def as_json(self) -> dict[str, Any]:
        """One object for each bin; an infinite bound is null."""
        return {
            "num_unknown": self.num_unknown,
            "bins": [
                {
                    "name": item.name,
                    "low": item.low,
                    "high": None if item.high == float("inf") else item.high,
                    "num_actions": item.num_actions,
                    **named(self.tious, item.normalized_mean_ap, metric="normalized_mAP"),
                    **named(self.tious, item.false_negative_rate, metric="false_negative_rate"),
                }
                for item in self.bins
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why the mAP is what it is: errors among the predictions, and which actions are hard to find."""

    result: MapResult
    """The metric itself, as `mean_average_precision` gives it."""
    normalized_mean_ap: tuple[float, ...]
    """I: normalised mAP of all predictions, which `characteristics` compare with."""
    false_negative_rate: tuple[float, ...]
    """I: the share of all actions that no prediction finds."""
    false_positives: FalsePositiveProfile
    bins: str
    """Whose bins: "thumos", "anet" or "quantiles"."""
    characteristics: tuple[CharacteristicFigures, ...]
    """Coverage, length, number of instances."""

    @property
    def tious(self) -> tuple[float, ...]:
        """I thresholds."""
        return self.result.tious

    def as_json(self) -> dict[str, Any]:
        """Everything but the average precisions of single classes, in values that JSON knows."""
        return {
            "tious": list(self.tious),
            **self.result.counts,
            **self.result.metrics,
            **named(self.tious, self.normalized_mean_ap, metric="normalized_mAP"),
            **named(self.tious, self.false_negative_rate, metric="false_negative_rate"),
            "false_positives": self.false_positives.as_json(),
            "bins": self.bins,
            "characteristics": {item.name: item.as_json() for item in self.characteristics},
        }


def mean(values: Sequence[float]) -> float:
    """The mean over the thresholds."""
    return sum(values) / len(values)


def named(tious: Sequence[float], values: Sequence[float] | None, *, metric: str = "mAP") -> dict[str, float | None]:
    """{"average_mAP": ..., "mAP@0.3": ..., ...}; None for each where there are no values."""
    if values is None:
        return dict.fromkeys([f"average_{metric}", *(f"{metric}@{tiou:g}" for tiou in tious)])
    at_tiou = {f"{metric}@{tiou:g}": value for tiou, value in zip(tious, values, strict=True)}
    return {f"average_{metric}": mean(values), **at_tiou}
