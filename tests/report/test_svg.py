"""Charts: places of points and bars, gaps, round axes, escaped names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.report.svg import BARS, LINES, Bars, Line, grouped_bars, line_chart, line_path, nice_ticks, stacked_bars


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_ticks_cover_the_range_with_few_round_numbers(low: float, span: float) -> None:
    high = low + span
    if high - low < 1e-6 * abs(low):
        return
    ticks = nice_ticks(low, high)
    slack = 1e-6 * (high - low)
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack and 2 <= len(ticks) <= 7


def test_ticks_are_round() -> None:
    assert nice_ticks(0, 0.93) == [0, 0.25, 0.5, 0.75, 1.0]
    assert nice_ticks(0, 960) == [0, 250, 500, 750, 1000]


def test_a_missing_point_breaks_the_line() -> None:
    assert line_path([0, 1, 2, 3], [5, None, 7, 8]) == "M0.0 5.0M2.0 7.0L3.0 8.0"


def test_lines_run_from_corner_to_corner() -> None:
    chart = line_chart([0, 10], [Line(name="x", ys=(0.0, 4.0))], label="x")
    assert f'd="M{LINES.left:.1f} 166.0L350.0 {LINES.top:.1f}"' in chart


def test_a_single_point_is_a_dot() -> None:
    assert "<circle" in line_chart([15], [Line(name="x", ys=(0.9,))], label="x")


def test_stacks_are_as_high_as_their_shares() -> None:
    chart = stacked_bars(
        ["1G"], [Bars(name="a", values=(0.25,), colour="c0"), Bars(name="b", values=(0.5,), colour="c1")], label="x"
    )
    heights = [float(value) for value in re.findall(r'<rect[^>]* height="([\d.]+)"', chart)]
    assert heights == [pytest.approx(share * BARS.plot_height, abs=0.1) for share in (0.25, 0.5)]


def test_small_shares_have_different_ticks() -> None:
    chart = grouped_bars(["a"], [Bars(name="", values=(0.018,), colour="c0")], label="x")
    ticks = re.findall(r'class="tick end"[^>]*>([^<]+)<', chart)
    assert len(set(ticks)) == len(ticks) and "0.5%" in ticks


def test_a_bin_without_actions_has_no_bar() -> None:
    chart = grouped_bars(["XS", "S"], [Bars(name="", values=(None, 0.5), colour="c0")], label="x", baseline=0.4)
    assert chart.count("<rect") == 1 and "baseline" in chart


def test_names_in_charts_are_text() -> None:
    name = "</title><script>"
    for chart in (
        line_chart([0, 1], [Line(name=name, ys=(0.0, 1.0))], label=name),
        grouped_bars([name], [Bars(name=name, values=(0.5,), colour="c0")], label=name),
    ):
        assert "<script" not in chart and "&lt;script&gt;" in chart
