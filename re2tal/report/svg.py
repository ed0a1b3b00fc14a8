"""Charts as inline SVG: lines over steps, bars in groups and stacks.

Colours are classes (`c0`, `c1`, ...) that the page's style sheet defines for light and dark. Lengths are in the
picture's own units; the page scales it to the place it has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = [
    "BARS",
    "LINES",
    "NUM_COLOURS",
    "Bars",
    "Frame",
    "Line",
    "grouped_bars",
    "line_chart",
    "line_path",
    "nice_ticks",
    "short_number",
    "stacked_bars",
]

NUM_COLOURS = 8
"""Classes beyond the eighth share a colour with an earlier one; labels tell them apart."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The picture's size and the part of it that the data fill."""

    width: float
    height: float
    left: float = 46
    top: float = 10
    right: float = 10
    bottom: float = 24

    @property
    def plot_width(self) -> float:
        """Of the part for data."""
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> float:
        """Of the part for data."""
        return self.height - self.top - self.bottom


LINES = Frame(width=360, height=190)
BARS = Frame(width=420, height=210)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Values along the x-axis; where there is none (None), the line is broken."""

    name: str
    ys: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One colour of a bar chart: a value for every category; None leaves its place empty."""

    name: str
    values: tuple[float | None, ...]
    colour: str
    """A colour class of the style sheet, such as "c0"."""


def line_chart(
    xs: Sequence[float],
    lines: Sequence[Line],
    *,
    label: str,
    y_range: tuple[float, float] | None = None,
    frame: Frame = LINES,
) -> Markup:
    """Lines over common places.

    Args:
        xs: (N,) rising.
        lines: each with N values.
        label: what the picture shows, for who cannot see it.
        y_range: of the axis; None: from 0, or below, to the largest value.
        frame: size of the picture.
    """
    values = [y for line in lines for y in line.ys if y is not None]
    low, high = y_range or (min(0.0, *values, 0.0), max(values, default=0.0))
    ticks = nice_ticks(low, high if high > low else low + 1)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    place_x = _scale(xs[0], xs[-1], frame.left, frame.left + frame.plot_width)
    place_y = _scale(low, high, frame.top + frame.plot_height, frame.top)
    x_ticks = [tick for tick in nice_ticks(xs[0], xs[-1], count=4) if xs[0] <= tick <= xs[-1]] or [xs[0]]
    parts = [_y_axis(ticks, place_y, frame=frame), _x_ticks(x_ticks, place_x, frame=frame)]
    for number, line in enumerate(lines):
        path = line_path([place_x(x) for x in xs], [None if y is None else place_y(y) for y in line.ys])
        parts.append(Markup('<path class="line c{}" d="{}"/>').format(number % NUM_COLOURS, path))
        parts.extend(_lone_points(xs, line, place_x, place_y, colour=number % NUM_COLOURS))
    return _picture(parts, frame=frame, label=label)


def line_path(xs: Sequence[float], ys: Sequence[float | None]) -> str:
    """The `d` of a path through the points; it starts anew after a missing one."""
    parts = []
    pen_is_down = False
    for x, y in zip(xs, ys, strict=True):
        if y is not None:
            parts.append(f"{'L' if pen_is_down else 'M'}{x:.1f} {y:.1f}")
        pen_is_down = y is not None
    return "".join(parts)


def stacked_bars(
    categories: Sequence[str], parts: Sequence[Bars], *, label: str, frame: Frame = BARS, highest: float = 1.0
) -> Markup:
    """Shares on top of each other, one stack per category; together they are at most `highest`, where the axis ends."""
    ticks = (0, 0.25, 0.5, 0.75, 1) if highest == 1 else nice_ticks(0, highest)
    place_y = _scale(0, ticks[-1], frame.top + frame.plot_height, frame.top)
    drawn = [_y_axis(ticks, place_y, frame=frame, percent=True)]
    step = frame.plot_width / max(len(categories), 1)
    for number, category in enumerate(categories):
        left, below = frame.left + step * (number + 0.14), 0.0
        for part in parts:
            value = part.values[number] or 0.0
            top, bottom = place_y(min(below + value, ticks[-1])), place_y(below)
            drawn.append(_bar(left, top, step * 0.72, bottom - top, part, f"{category}, {part.name}: {value:.1%}"))
            below += value
        drawn.append(_category(left + step * 0.36, category, frame=frame))
    return _picture(drawn, frame=frame, label=label)


def grouped_bars(
    categories: Sequence[str],
    groups: Sequence[Bars],
    *,
    label: str,
    baseline: float | None = None,
    frame: Frame = BARS,
) -> Markup:
    """Shares side by side, one group per category.

    Args:
        categories: named under the axis.
        groups: each with a value for every category.
        label: what the picture shows.
        baseline: a value to compare with, drawn across.
        frame: size of the picture.
    """
    values = [value for group in groups for value in group.values if value is not None] + [baseline or 0.0]
    ticks = nice_ticks(min(0.0, *values), max(*values, 0.01))
    place_y = _scale(ticks[0], ticks[-1], frame.top + frame.plot_height, frame.top)
    drawn, figures = [_y_axis(ticks, place_y, frame=frame, percent=True)], []
    step = frame.plot_width / max(len(categories), 1)
    width = step * 0.76 / max(len(groups), 1)
    for number, category in enumerate(categories):
        left = frame.left + step * (number + 0.12)
        for place, group in enumerate(groups):
            value = group.values[number]
            if value is not None:
                told = ", ".join(filter(None, (category, group.name)))
                y, zero = place_y(value), place_y(0)
                size = max(abs(zero - y), 0.6)  # a zero is a bar too, not a gap
                drawn.append(
                    _bar(left + width * place, min(y, zero), width * 0.92, size, group, f"{told}: {value:.1%}")
                )
                figures.append(_value(left + width * (place + 0.46), min(y, zero) - 3, value, room=width))
        drawn.append(_category(left + step * 0.38, category, frame=frame))
    if baseline is not None:
        y, end = place_y(baseline), frame.left + frame.plot_width
        drawn.append(Markup('<path class="baseline" d="M{} {:.1f}H{:.1f}"/>').format(frame.left, y, end))
    return _picture([*drawn, *figures], frame=frame, label=label)  # figures last, above the line across


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """About `count` round numbers that cover [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * count >= span * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def short_number(value: float) -> str:
    """`0`, `0.25`, `12k`, `3e-05`: for axes."""
    size = abs(value)
    if size >= 1_000_000:
        return f"{value / 1_000_000:.3g}M"
    if size >= 10_000:
        return f"{value / 1000:.3g}k"
    return f"{value:.3g}" if size < 1000 else f"{value:.0f}"


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low
    return lambda value: start + (end - start) * ((value - low) / span if span else 0.5)


def _picture(parts: Sequence[Markup], *, frame: Frame, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        frame.width, frame.height, label, Markup("").join(parts)
    )


def _y_axis(
    ticks: Sequence[float], place_y: Callable[[float], float], *, frame: Frame, percent: bool = False
) -> Markup:
    right = frame.left + frame.plot_width
    template = Markup(
        '<path class="grid" d="M{:g} {:.1f}H{:.1f}"/><text class="tick end" x="{:g}" y="{:.1f}">{}</text>'
    )
    rows = (
        template.format(
            frame.left, y, right, frame.left - 6, y + 3.5, f"{100 * tick:.3g}%" if percent else short_number(tick)
        )
        for tick, y in ((tick, place_y(tick)) for tick in ticks)
    )
    return Markup("").join(rows)


def _x_ticks(ticks: Sequence[float], place_x: Callable[[float], float], *, frame: Frame) -> Markup:
    template = Markup('<text class="tick middle" x="{:.1f}" y="{:g}">{}</text>')
    return Markup("").join(template.format(place_x(tick), frame.height - 7, short_number(tick)) for tick in ticks)


def _lone_points(
    xs: Sequence[float],
    line: Line,
    place_x: Callable[[float], float],
    place_y: Callable[[float], float],
    *,
    colour: int,
) -> list[Markup]:
    """Points without neighbours, which a line would not show."""
    padded = (None, *line.ys, None)
    return [
        Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(colour, place_x(x), place_y(y))
        for number, (x, y) in enumerate(zip(xs, line.ys, strict=True))
        if y is not None and padded[number] is None and padded[number + 2] is None
    ]


def _bar(left: float, top: float, width: float, height: float, bars: Bars, told: str) -> Markup:
    template = Markup(
        '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
    )
    return template.format(bars.colour, left, top, width, height, told)


def _value(x: float, y: float, value: float, *, room: float) -> Markup:
    """The figure above a bar, where it has room."""
    if room < 22:
        return Markup("")
    return Markup('<text class="tick middle figure" x="{:.1f}" y="{:.1f}">{}</text>').format(x, y, f"{100 * value:.1f}")


def _category(x: float, name: str, *, frame: Frame) -> Markup:
    return Markup('<text class="tick middle" x="{:.1f}" y="{:g}">{}</text>').format(x, frame.height - 7, name)
