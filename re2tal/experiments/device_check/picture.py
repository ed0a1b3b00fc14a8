"""Memory and time of a training step by the number of frames, as one picture (SVG) that needs no style sheet."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from re2tal.experiments.device_check.context import Row
from re2tal.experiments.device_check.verdict import rows_of
from re2tal.report.picture import COLOURS
from re2tal.report.svg import Frame, Line, line_chart

__all__ = ["draw_report"]

_PANEL = Frame(width=360, height=190)
_TOP, _LEGEND, _ROW = 26, 60, 236
_STYLE = Markup(
    "svg{{background:#fff}}text{{font:11px sans-serif;fill:#18212e}}.title{{font-weight:bold}}"
    ".tick{{font-size:9px;fill:#5f6b7a}}"
    ".middle{{text-anchor:middle}}.end{{text-anchor:end}}.grid{{stroke:#e4e7eb}}.line{{fill:none;stroke-width:1.8}}{}"
).format(
    Markup("").join(
        Markup(".c{0}{{stroke:{1};fill:{1}}}path.c{0}{{fill:none}}").format(number, colour)
        for number, colour in enumerate(COLOURS)
    )
)


def draw_report(report: dict[str, Any]) -> str:
    """A row of two panels for each network; those without figures are left out."""
    rows = [row for row in rows_of(report, "steps") if "state" not in row]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    device = next((row["name"] for row in rows_of(report, "machine")), report["device"])
    parts = [_text(10, 18, f"A training step on {device}, batch 1", "title")]
    for number, network in enumerate(networks):
        own = [row for row in rows if row["network"] == network]
        top = _TOP + number * _ROW
        what = f"{network}, {own[0]['pixels']} x {own[0]['pixels']} pixels"
        parts += _panel(own, strategies, key="step_mib", scale=1 / 1024, at=(0, top), title=f"{what}: memory (GiB)")
        parts += _panel(own, strategies, key="step_s", scale=1.0, at=(_PANEL.width, top), title="time (s)")
    legend = _TOP + len(networks) * _ROW
    for number, strategy in enumerate(strategies):
        x, y = 20 + 175 * (number % 4), legend + 14 + 18 * (number // 4)
        parts.append(Markup('<path class="line c{}" d="M{} {}h18"/>').format(number, x, y - 4))
        parts.append(_text(x + 24, y, strategy))
    template = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}"><style>{}</style>{}</svg>\n'
    size = (2 * _PANEL.width, legend + _LEGEND)
    return str(Markup(template).format(*size, _STYLE, Markup("").join(parts)))


def _panel(
    rows: Sequence[Row], strategies: Sequence[str], *, key: str, scale: float, at: tuple[float, float], title: str
) -> list[Markup]:
    frames = sorted({row["frames"] for row in rows})
    found = {(row["strategy"], row["frames"]): scale * row[key] for row in rows}
    lines = [Line(name=name, ys=tuple(found.get((name, count)) for count in frames)) for name in strategies]
    chart = line_chart(frames, lines, label=title, frame=_PANEL)
    placed = Markup('<svg x="{}" y="{}" width="{}" height="{}"').format(at[0], at[1] + 22, _PANEL.width, _PANEL.height)
    return [_text(at[0] + 46, at[1] + 16, f"{title}, by frames"), chart.replace(Markup("<svg"), placed, 1)]


def _text(x: float, y: float, words: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y, words)
