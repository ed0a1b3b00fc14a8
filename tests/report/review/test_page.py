"""A review in a browser: by keyboard alone, and by mouse."""

import json
from pathlib import Path
from typing import Any

import pytest
import report_page
import review

from tests.report.browsing import wait_until
from tests.report.review.browsing import chosen, press, reviewing, rows, said, saved, written

pytest.importorskip("playwright", reason="playwright is not installed; pip install 're2tal[dev]'")
pytestmark = pytest.mark.skipif(
    report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium"
)


def test_a_whole_review_by_keyboard_alone(page: Any, out: Path) -> None:
    press(page, "ArrowDown")
    assert chosen(page) == [2, 4, "walk", "proposed"]
    press(page, "a")  # accepts, and goes on
    assert chosen(page) == [6, 7, "groom", "proposed"]
    press(page, "x")
    assert chosen(page) == [10, 14, "walk", "proposed"]
    press(page, "1")  # groom
    assert chosen(page) == [10, 14, "groom", "kept"]
    press(page, "r", "r", "Shift+E")  # two frames later, a second earlier
    assert chosen(page) == [10, 13.2, "groom", "kept"]
    press(page, "w", "d")  # the start a frame later, then all of it a frame earlier
    assert chosen(page) == [10, 13.1, "groom", "kept"]
    press(page, "Shift+ArrowLeft", "Home", *["Shift+ArrowRight"] * 12, "ArrowRight")
    assert page.evaluate("edits.now") == pytest.approx(12.1)
    press(page, "s")
    assert chosen(page) == [12.1, 13.1, "groom", "kept"]
    press(page, "Escape", "2", "End", "Shift+ArrowLeft", "n", "Shift+ArrowLeft", "n")  # backwards works, too
    added = chosen(page)
    assert added[1] - added[0] == pytest.approx(1) and added[2:] == ["walk", "kept"]
    press(page, "x", "z")
    saved(page)
    assert page.locator("#saved").inner_text() == "All edits are saved"
    entry = written(out, count=4)
    assert rows(entry) == [(2, 4, "walk"), (10, 12.1, "groom"), (12.1, 13.1, "groom"), tuple(added[:3])]
    assert {row["annotator"] for row in entry["annotations"]} == {"Ada"}
    assert entry["annotations"][0]["score"] == 0.9 and "score" not in entry["annotations"][1]  # of another class
    assert [6, 7] in entry["labelled"]  # what was rejected was looked at


def test_everything_can_be_taken_back_and_done_again(page: Any, out: Path) -> None:
    before = page.evaluate("JSON.stringify([...model.contents])")
    press(page, "ArrowDown", "a", "x", "2", "s", "Home", "n", "Shift+ArrowRight", "n", "Shift+M", "q", "m", "End", "m")
    saved(page)
    after = page.evaluate("JSON.stringify([model.segments, model.looked])")
    count = page.evaluate("edits.done.length")
    assert count >= 6
    for _ in range(count):
        press(page, "z")
    saved(page)
    assert (
        page.evaluate("JSON.stringify([...model.contents].filter(([, content]) => content?.label !== undefined))")
        == before
    )
    assert page.evaluate("model.looked.length") == 0
    press(page, "z")
    assert "nothing to take back" in said(page)
    for _ in range(count):
        press(page, "y")
    saved(page)
    assert page.evaluate("JSON.stringify([model.segments, model.looked])") == after
    written(out, count=page.evaluate("model.segments.filter((segment) => segment.status === 'kept').length"))


def test_a_proposal_like_one_that_is_kept_needs_no_decision(page: Any) -> None:
    assert page.evaluate("model.segments.filter(isOpen).length") == 4
    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "a")
    assert page.evaluate("model.segments.filter(isOpen).map((segment) => segment.start)") == [2, 6]


def test_the_slider_chooses_what_is_proposed_and_u_the_least_sure(page: Any) -> None:
    press(page, "u")
    assert chosen(page) == [10.2, 14, "walk", "proposed"]
    page.locator("#score").fill("0.55")
    assert page.locator("#score-value").inner_text() == "0.55"
    assert page.evaluate("edits.visible.length") == 2
    page.locator("#timeline").focus()
    press(page, "u")
    assert chosen(page) == [6, 7, "groom", "proposed"]


def test_the_next_uncertain_one_may_be_in_another_video(page: Any) -> None:
    wait_until(page, "videoList.about.length === 2 && videoList.about[1].open === 1")
    press(page, "ArrowDown", "x", "x", "x", "x", "u")
    wait_until(page, "model.video.id === 'm2' && edits.segment !== null")
    assert chosen(page) == [3, 5, "groom", "proposed"]


def test_playing_by_j_k_l(page: Any) -> None:
    wait_until(page, "player.video.readyState >= 2")
    press(page, "l", "l")
    wait_until(page, "!player.video.paused && player.video.playbackRate === 2 && playing.time > 0.5")
    press(page, "k")
    wait_until(page, "player.video.paused")
    forwards = page.evaluate("playing.time")
    press(page, "j")
    wait_until(page, f"playing.time < {forwards} - 0.3")
    press(page, "k", "Space")
    wait_until(page, "!player.video.paused && player.video.playbackRate === 1")
    press(page, "Space")
    wait_until(page, "player.video.paused")


def test_single_frames_are_those_of_the_file(page: Any) -> None:
    wait_until(page, "player.video.readyState >= 2")
    press(page, *["ArrowRight"] * 7, "ArrowLeft")
    wait_until(page, "!player.video.seeking")
    assert page.evaluate("edits.now") == pytest.approx(0.6)
    # Frame 150 of 200 that get brighter evenly, up to 250.
    press(page, "Home", *["Shift+ArrowRight"] * 15)
    wait_until(page, "!player.video.seeking && player.video.readyState >= 2")
    assert brightness(page) == pytest.approx(250 * 150 / 199, abs=4)


def brightness(page: Any) -> float:
    """Of the picture that the video shows."""
    return float(
        page.evaluate(
            """() => {
              const canvas = document.createElement("canvas");
              [canvas.width, canvas.height] = [8, 8];
              const pen = canvas.getContext("2d");
              pen.drawImage(player.video, 0, 0, 8, 8);
              return pen.getImageData(4, 4, 1, 1).data[1];
            }"""
        )
    )


def test_two_hours_seek_anywhere(tab: Any, tmp_path: Path, out: Path) -> None:
    review.write_long_video(tmp_path / "long.mp4", seconds=7200)
    statuses: list[int] = []
    tab.on("response", lambda answer: statuses.append(answer.status) if "/media/" in answer.url else None)
    with reviewing(tab, {"long": tmp_path / "long.mp4"}, out=out, classes=["walk"]) as page:
        wait_until(page, "player.video.readyState >= 2")
        for seconds in (7000, 60, 3600):
            page.evaluate(f"playing.seek({seconds})")
            wait_until(page, "!player.video.seeking && player.video.readyState >= 2")
            assert brightness(page) == pytest.approx(255 * seconds / 7200, abs=6)
        press(page, "n", *["Shift+ArrowRight"] * 3, "n")
        saved(page)
        assert rows(written(out, video="long", count=1)) == [(3600, 3603, "walk")]
    assert statuses and set(statuses) == {206}


def x_of(page: Any, seconds: float) -> float:
    return float(page.evaluate(f"timeline.box.getBoundingClientRect().left + 1 + timeline.x({seconds})"))


def y_of(page: Any, label: str, row: int = 0) -> float:
    """The middle of a row of a lane."""
    return float(
        page.evaluate(
            """([label, row]) => timeline.box.getBoundingClientRect().top + 1 - timeline.box.scrollTop +
            timeline.lanes.find((lane) => lane.label === label).top + NAME + ROW * (row + 0.5)""",
            [label, row],
        )
    )


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, end[1], steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()


def test_the_mouse_chooses_drags_edges_moves_draws_and_marks(page: Any, out: Path) -> None:
    y = y_of(page, "walk")
    page.mouse.click(x_of(page, 3), y)
    assert chosen(page) == [2, 4, "walk", "proposed"]
    drag(page, (x_of(page, 4), y), (x_of(page, 5), y))
    start, end, label, status = chosen(page)
    assert (start, label, status) == (2, "walk", "kept") and end == pytest.approx(5, abs=0.1)
    drag(page, (x_of(page, 3), y), (x_of(page, 4), y))
    assert chosen(page)[:2] == pytest.approx([3, end + 1], abs=0.1)
    y = y_of(page, "groom")
    drag(page, (x_of(page, 16), y), (x_of(page, 18), y))
    assert chosen(page)[:2] == pytest.approx([16, 18], abs=0.1) and chosen(page)[2:] == ["groom", "kept"]
    top = page.evaluate("timeline.box.getBoundingClientRect().top + 1 + RULER + CURVE + LOOKED / 2")
    drag(page, (x_of(page, 0.5), top), (x_of(page, 8), top))
    assert page.evaluate("model.looked")[0] == pytest.approx([0.5, 8], abs=0.1)
    page.mouse.click(x_of(page, 12), top - 40)
    assert page.evaluate("playing.time") == pytest.approx(12, abs=0.15)
    saved(page)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate("model.looked.length") == 0
    saved(page)
    assert [label for *_, label in rows(written(out, count=1))] == ["walk"]


def test_escape_forgets_what_was_begun(page: Any) -> None:
    press(page, "n", "Shift+ArrowRight", "Escape", "m", "Shift+ArrowRight", "Escape")
    assert page.evaluate("model.pending.length + edits.done.length") == 0


def test_an_event_without_length_can_be_labelled(page: Any, out: Path) -> None:
    press(page, "2", "Shift+ArrowRight", "n", "n")
    saved(page)
    assert rows(written(out, count=1)) == [(1, 1, "walk")]


def test_labelling_from_nothing_with_a_new_class(tab: Any, videos: dict[str, Path], out: Path) -> None:
    with reviewing(tab, videos, out=out) as page:
        press(page, "n")  # there is no class yet: asks for one
        page.locator("#ask-text").fill("rear up")
        press(page, "Enter")
        wait_until(page, "edits.label === 'rear up'")
        press(page, "n", "Shift+ArrowRight", "n", "c")
        page.locator("#ask-text").fill("dig")
        press(page, "Enter")
        wait_until(page, "edits.segment.label === 'dig'")
        saved(page)
        assert rows(written(out, count=1)) == [(0, 1, "dig")]


def test_another_annotator_may_go_on(page: Any, out: Path) -> None:
    press(page, "ArrowDown", "a")
    page.locator("#annotator").select_option(value="")
    page.locator("#ask-text").fill("Ben")
    press(page, "Enter")
    wait_until(page, "session.annotator === 'Ben'")
    page.locator("#timeline").focus()
    press(page, "a")
    saved(page)
    assert [row["annotator"] for row in written(out, count=2)["annotations"]] == ["Ada", "Ben"]
    page.evaluate("localStorage.clear()")


def test_suggestions_are_shown_one_after_the_other(
    tab: Any, videos: dict[str, Path], tmp_path: Path, out: Path
) -> None:
    first = tmp_path / "first.json"
    stretches = [
        {"video": "m1", "start": 15, "end": 17, "score": 0.2},
        {"video": "m2", "start": 8, "end": 9, "score": 0.9},
    ]
    first.write_text(json.dumps({"suggestions": stretches}))
    with reviewing(tab, videos, out=out, first=first) as page:
        press(page, "g")
        wait_until(page, "model.video.id === 'm2' && Math.abs(playing.time - 8) < 0.2")
        press(page, "g")
        wait_until(page, "model.video.id === 'm1' && Math.abs(playing.time - 15) < 0.2")
