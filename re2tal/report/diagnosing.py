"""The diagnosis as charts."""

from collections.abc import Callable, Sequence
from typing import Any

from re2tal.evaluation.diagnosis import (
    ERROR_TYPES,
    NUM_GROUPS,
    BinFigures,
    CharacteristicFigures,
    Diagnosis,
    ErrorType,
)
from re2tal.evaluation.diagnosis.result import mean
from re2tal.report.svg import Bars, Frame, grouped_bars, stacked_bars

__all__ = ["diagnosis_charts"]

_COLOURS: dict[ErrorType, str] = {
    "true_positive": "c2",
    "double_detection": "c0",
    "wrong_label": "c4",
    "localization": "c1",
    "confusion": "c3",
    "background": "c7",
}
_CHARACTERISTICS = {
    "coverage": ("coverage", "share of the video that the action takes", ""),
    "length": ("length", "seconds", " s"),
    "num_instances": ("number of instances", "actions of the class in the video", ""),
}
_WIDE = Frame(width=560, height=230)
_SMALL = Frame(width=320, height=180)


def diagnosis_charts(diagnosis: Diagnosis) -> dict[str, Any]:
    """Pictures of the error profile, of what each error costs, and of which actions are hard to find."""
    return {
        "profile": _profile(diagnosis),
        "gain": _gain(diagnosis),
        "sensitivity": _by_characteristic(
            diagnosis, lambda item: item.normalized_mean_ap, overall=diagnosis.normalized_mean_ap, colour="c0"
        ),
        "misses": _by_characteristic(
            diagnosis, lambda item: item.false_negative_rate, overall=diagnosis.false_negative_rate, colour="c1"
        ),
        "bins": diagnosis.bins,
    }


def _profile(diagnosis: Diagnosis) -> dict[str, Any]:
    profile = diagnosis.false_positives
    groups = [f"{group + 1}G" for group in range(NUM_GROUPS)]
    parts = [
        Bars(name=_words(error), values=profile.group_shares(error), colour=_COLOURS[error]) for error in ERROR_TYPES
    ]
    return {
        "svg": stacked_bars(groups, parts, label="What the best detections are, in groups of G", frame=_WIDE),
        "legend": [
            {"name": _words(error), "colour": _COLOURS[error], "value": f"{100 * profile.share(error):.1f} %"}
            for error in ERROR_TYPES
        ],
        "num_predictions": f"{profile.num_predictions:,}",
    }


def _gain(diagnosis: Diagnosis) -> dict[str, Any]:
    profile = diagnosis.false_positives
    errors = list(profile.gain)
    groups = [
        Bars(name="mAP", values=tuple(mean(profile.gain[error]) for error in errors), colour="c0"),
        Bars(
            name="normalised mAP",
            values=tuple(mean(profile.normalized_gain[error]) for error in errors),
            colour="c1",
        ),
    ]
    names = [_words(error).removesuffix(" detection") for error in errors]
    return {
        "svg": grouped_bars(names, groups, label="Points of mAP won without each type of error", frame=_WIDE),
        "legend": [{"name": bars.name, "colour": bars.colour, "value": ""} for bars in groups],
    }


def _by_characteristic(
    diagnosis: Diagnosis,
    figure: Callable[[BinFigures], Sequence[float] | None],
    *,
    overall: Sequence[float],
    colour: str,
) -> list[dict[str, Any]]:
    charts = []
    for item in diagnosis.characteristics:
        name, meaning, unit = _CHARACTERISTICS[item.name]
        figures = (figure(group) for group in item.bins)
        values = tuple(None if value is None else mean(value) for value in figures)
        bars = Bars(name="", values=values, colour=colour)
        charts.append(
            {
                "title": f"By {name}",
                "meaning": meaning,
                "svg": grouped_bars(
                    [group.name for group in item.bins],
                    [bars],
                    label=f"By {name}",
                    baseline=mean(overall),
                    frame=_SMALL,
                ),
                "bins": [
                    {"name": group.name, "range": _range(group, unit), "count": f"{group.num_actions:,}"}
                    for group in item.bins
                ],
                "unknown": _unknown(item),
            }
        )
    return charts


def _range(group: BinFigures, unit: str) -> str:
    if group.high == float("inf"):
        return f"over {group.low:.3g}{unit}"
    return f"{group.low:.3g} to {group.high:.3g}{unit}"


def _unknown(item: CharacteristicFigures) -> str:
    return f"{item.num_unknown:,} actions left out: the length of their video is not known" if item.num_unknown else ""


def _words(error: ErrorType) -> str:
    return error.replace("_", " ")
