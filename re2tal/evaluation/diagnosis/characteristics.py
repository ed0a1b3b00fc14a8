"""What sets actions apart: how much of their video they fill, how long they are, how many there are.

M actions, B bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation import EvaluationError, GroundTruth
from re2tal.evaluation.diagnosis.result import CharacteristicName

__all__ = ["BIN_NAMES", "PUBLISHED_BINS", "Bins", "characteristics", "choose_bins"]

BIN_NAMES = ("XS", "S", "M", "L", "XL")
_NEARLY_ALL = 0.9


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Where small ends and large begins."""

    name: str
    edges: dict[CharacteristicName, tuple[float, ...]]
    """B + 1 ascending bounds each; bin b holds values above bound b up to bound b + 1."""

    def place(self, name: CharacteristicName, values: np.ndarray) -> np.ndarray:
        """The bin of each value: (M,) int64; -1 where it is nan. What lies outside the bounds is in the nearest bin."""
        inner = np.array(self.edges[name][1:-1])
        return np.where(np.isnan(values), -1, np.searchsorted(inner, values, side="left"))


# Those of DETAD's programs for the two data sets.
PUBLISHED_BINS = {
    "thumos": Bins(
        name="thumos",
        edges={
            "coverage": (0, 0.02, 0.04, 0.06, 0.08, 1),
            "length": (0, 3, 6, 12, 18, np.inf),
            "num_instances": (0, 1, 40, 80, np.inf),
        },
    ),
    "anet": Bins(
        name="anet",
        edges={
            "coverage": (0, 0.2, 0.4, 0.6, 0.8, 1),
            "length": (0, 30, 60, 120, 180, np.inf),
            "num_instances": (0, 1, 4, 8, np.inf),
        },
    ),
}


def characteristics(ground_truth: GroundTruth) -> dict[CharacteristicName, np.ndarray]:
    """The values of every action, each (M,) float64.

    coverage: its length as a share of its video; nan where the annotations do not tell the video's length.
    length: in seconds.
    num_instances: how many actions its video has, of all classes, itself included.
    """
    length = ground_truth.segments[:, 1] - ground_truth.segments[:, 0]
    durations = ground_truth.durations
    video_length = np.full(len(length), np.nan) if durations is None else durations[ground_truth.video_index]
    num_instances = np.bincount(ground_truth.video_index)[ground_truth.video_index].astype(np.float64)
    return {"coverage": length / video_length, "length": length, "num_instances": num_instances}


def choose_bins(values: Mapping[CharacteristicName, np.ndarray], *, name: str | None = None) -> Bins:
    """The bins of a name; without, those that suit the actions.

    These are the published ones among which the actions spread more evenly; or quantiles, if even there nearly all
    actions fall into one bin of coverage or of length, which would tell nothing.

    Args:
        values: as `characteristics` gives them.
        name: "thumos", "anet", or "quantiles" for bins that hold a fifth of these actions each.
    """
    if name == "quantiles":
        return Bins(name=name, edges={key: _quantiles(of_actions) for key, of_actions in values.items()})
    if name is None:
        published = max(PUBLISHED_BINS.values(), key=lambda bins: _spread(bins, values))
        return choose_bins(values, name=published.name if _tells_apart(published, values) else "quantiles")
    if name not in PUBLISHED_BINS:
        raise EvaluationError(f"bins must be thumos, anet or quantiles, got {name!r}")
    return PUBLISHED_BINS[name]


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    """At most five bins that hold about as many values each; fewer where a value is frequent. () without values."""
    known = values[~np.isnan(values)]
    if not len(known):
        return ()
    upper = np.unique(np.quantile(known, (0.2, 0.4, 0.6, 0.8, 1), method="inverted_cdf"))
    return (float(known.min()), *map(float, upper))


def _spread(bins: Bins, values: Mapping[CharacteristicName, np.ndarray]) -> float:
    """Entropy of the actions' distribution among the bins of coverage and of length."""
    return -sum(float((share[share > 0] * np.log(share[share > 0])).sum()) for share in _shares(bins, values))


def _tells_apart(bins: Bins, values: Mapping[CharacteristicName, np.ndarray]) -> bool:
    return all(share.max() <= _NEARLY_ALL for share in _shares(bins, values))


def _shares(bins: Bins, values: Mapping[CharacteristicName, np.ndarray]) -> list[np.ndarray]:
    """Of coverage and length, the share of actions in each bin; without coverage where nothing is known of it."""
    placed = [bins.place(name, values[name]) for name in ("coverage", "length")]
    counts = [np.bincount(places[places >= 0]) for places in placed]
    return [count / count.sum() for count in counts if count.sum()]
