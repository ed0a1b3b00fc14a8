import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.labels import Time, TimeError, Unit, parse_time

milliseconds = st.integers(0, 400 * 3600 * 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5), ("12,5", 12.5), (" 12.5 s", 12.5), ("12.5sec", 12.5), (".5", 0.5), ("7.", 7.0), ("1e1", 10.0),
        ("-0.02", -0.02), ("1:02:03.5", 3723.5), ("01:02:03,500", 3723.5), ("62:03", 3723.0), ("0:00", 0.0),
    ],
)  # fmt: skip
def test_known_spellings(text: str, seconds: float) -> None:
    assert parse_time(text) == Time(seconds=pytest.approx(seconds))


@pytest.mark.parametrize(
    "text",
    ["", "  ", "abc", "1,234.5", "1.234,5", "1.2.3", "nan", "inf", "1_000", "٣", "1:60", "1:61:00", "1:2:3:4:5", "--1",
     "12 frames", "0x10", "1e999", "99999999999", "1:-2", "9" * 400 + ":00", "1e400"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(TimeError, match="a time|minutes"):
        parse_time(text)


def test_units() -> None:
    assert parse_time("250", unit="frames").at(25) == 10
    assert parse_time("250", unit="milliseconds") == Time(seconds=0.25)
    assert parse_time("250 s", unit="frames") == Time(seconds=250)  # a written unit counts
    assert parse_time("1:00", unit="frames") == Time(seconds=60)
    assert parse_time("00:00:10:05") == Time(seconds=10, frames=5)
    assert parse_time("00:00:10;05").at(20) == 10.25


@given(milliseconds)
def test_seconds_with_point_or_comma_are_the_same_number(value: int) -> None:
    text = f"{value // 1000}.{value % 1000:03d}"
    assert parse_time(text) == parse_time(text.replace(".", ",")) == Time(seconds=float(text))


@given(milliseconds)
def test_a_clock_gives_the_seconds_it_shows(value: int) -> None:
    hours, minutes = value // 3600000, value // 60000 % 60
    text = f"{hours}:{minutes:02d}:{value // 1000 % 60:02d}.{value % 1000:03d}"
    assert parse_time(text).at(1) * 1000 == pytest.approx(value, abs=1e-3)
    short = f"{value // 60000}:{value // 1000 % 60:02d},{value % 1000:03d}"
    assert parse_time(short).at(1) * 1000 == pytest.approx(value, abs=1e-3)


@given(st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from(("seconds", "milliseconds", "frames")))
def test_python_s_own_spelling_of_numbers_is_understood(value: float, unit: Unit) -> None:
    per_second = {"seconds": 1, "milliseconds": 1000, "frames": 1}[unit]
    assert parse_time(repr(value), unit=unit).at(1) == pytest.approx(value / per_second)


@given(st.text(max_size=20), st.sampled_from(("seconds", "milliseconds", "frames")))
def test_any_text_is_a_finite_time_or_a_time_error(text: str, unit: Unit) -> None:
    try:
        found = parse_time(text, unit=unit)
    except TimeError:
        return
    assert abs(found.at(25.0)) < 1e12


@given(st.integers(0, 10**7), st.floats(1, 240))
def test_frames_are_shown_from_their_number_over_the_rate_on(frame: int, fps: float) -> None:
    assert parse_time(str(frame), unit="frames").at(fps) == frame / fps
