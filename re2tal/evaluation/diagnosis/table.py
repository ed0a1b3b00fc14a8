"""A diagnosis as tables for people."""

from collections.abc import Iterable, Iterator, Sequence

from re2tal.common.terminal import print_table
from re2tal.evaluation import counts_in_words
from re2tal.evaluation.diagnosis.result import ERROR_TYPES, NUM_GROUPS, CharacteristicFigures, Diagnosis, mean

__all__ = ["print_diagnosis"]

_UNITS = {"length": " s"}
Section = tuple[str, list[list[str]], str]
"""Title, rows of cells with the headings first, and what to say below."""


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """The metric, the error profile, what each error costs, and which actions are hard to find."""
    for title, rows, caption in _sections(diagnosis):
        print_table(rows, title=title, caption=caption)
        print()


def _sections(diagnosis: Diagnosis) -> Iterator[Section]:
    profile = diagnosis.false_positives
    at_tiou = ["tIoU", *(f"{tiou:g}" for tiou in diagnosis.tious), "mean"]
    yield (
        "The metric (%)",
        [
            at_tiou,
            ["mAP", *_percents(diagnosis.result.per_tiou)],
            ["normalised mAP", *_percents(diagnosis.normalized_mean_ap)],
            ["false negatives", *_percents(diagnosis.false_negative_rate)],
        ],
        counts_in_words(diagnosis.result),
    )
    yield (
        "What the best predictions are (%)",
        [
            ["", *(f"{group + 1}G" for group in range(NUM_GROUPS)), "all"],
            *(
                [_words(error), *(f"{100 * share:.0f}" for share in shares), f"{100 * profile.share(error):.1f}"]
                for error, shares in ((error, profile.group_shares(error)) for error in ERROR_TYPES)
            ),
        ],
        f"{profile.num_predictions} predictions: of each class with G actions the best G, the next G, and so on; "
        "means over the thresholds",
    )
    for name, base, gain in (
        ("mAP", profile.mean_ap, profile.gain),
        ("normalised mAP", profile.normalized_mean_ap, profile.normalized_gain),
    ):
        yield (
            f"What {name} wins without them (points)",
            [at_tiou, *([_words(error), *_percents(values)] for error, values in gain.items())],
            f"above the {100 * mean(base):.2f} of the predictions looked at",
        )
    yield (
        f"Which actions are hard to find (%; bins: {diagnosis.bins})",
        [["", "range", "actions", "mAP_N", "relative", "false negatives"], *_characteristic_rows(diagnosis)],
        "mAP_N: normalised mAP of these actions alone; relative: to that of all; means over the thresholds",
    )


def _characteristic_rows(diagnosis: Diagnosis) -> Iterable[list[str]]:
    base = mean(diagnosis.normalized_mean_ap)
    rate = mean(diagnosis.false_negative_rate)
    yield ["all", "", str(diagnosis.result.num_actions), f"{100 * base:.2f}", "1.00", f"{100 * rate:.2f}"]
    for characteristic in diagnosis.characteristics:
        yield from _bin_rows(characteristic, base=base)


def _bin_rows(characteristic: CharacteristicFigures, *, base: float) -> Iterable[list[str]]:
    name, unit = _words(characteristic.name), _UNITS.get(characteristic.name, "")
    for place, item in enumerate(characteristic.bins):
        # Bins from 0 to 0.02, above 0.02 to 0.04 and so on: the upper bounds are enough.
        is_last = place == len(characteristic.bins) - 1 and item.low < item.high
        bounds = f"> {item.low:.3g}{unit}" if is_last else f"<= {item.high:.3g}{unit}"
        yield [
            f"{name} {item.name}",
            bounds,
            str(item.num_actions),
            _mean_percent(item.normalized_mean_ap),
            f"{mean(item.normalized_mean_ap) / base:.2f}" if item.normalized_mean_ap is not None and base else "-",
            _mean_percent(item.false_negative_rate),
        ]
    if characteristic.num_unknown:
        yield [f"{name} unknown", "", str(characteristic.num_unknown), "-", "-", "-"]


def _mean_percent(values: Sequence[float] | None) -> str:
    return "-" if values is None else f"{100 * mean(values):.2f}"


def _percents(values: Sequence[float]) -> list[str]:
    return [f"{100 * value:.2f}" for value in (*values, mean(values))]


def _words(name: str) -> str:
    return {"num_instances": "instances"}.get(name, name.replace("_", " "))
