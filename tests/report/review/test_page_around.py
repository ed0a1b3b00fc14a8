"""A review in a browser: in two tabs, without its server, with odd videos and names, on any screen."""

import errno
from pathlib import Path
from typing import Any

import pytest
import report_page
import review
from review import served

from re2tal.video import write_video
from tests.report.browsing import wait_until
from tests.report.report_data import HOSTILE
from tests.report.review.browsing import FOUND, opened, press, reviewing, rows, saved, written
from tests.report.review.review_data import write_found

pytest.importorskip("playwright", reason="playwright is not installed; pip install 're2tal[dev]'")
pytestmark = pytest.mark.skipif(
    report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium"
)


def test_what_one_tab_does_the_other_shows(page: Any, context: Any, address: str) -> None:
    other = context.new_page()
    opened(other, address)
    press(page, "ArrowDown", "a")
    wait_until(other, "model.byId('d0').status === 'kept'")
    press(other, "ArrowDown", "ArrowDown", "x")
    wait_until(page, "model.byId('d1').status === 'rejected'")
    other.close()


def cut_off(tab: Any) -> None:
    """Its edits and questions do not reach the server."""
    for name in ("**/edits", "**/changes*"):
        tab.route(name, lambda route: route.abort())


def test_of_two_edits_of_one_segment_the_later_is_told(page: Any, context: Any, address: str, out: Path) -> None:
    other = context.new_page()  # its console has the requests that fail
    opened(other, address)
    cut_off(other)
    press(other, "ArrowDown", "r", "r", "ArrowDown", "x")  # the end of d0 twice, then d1
    wait_until(other, "!model.isOnline")
    assert "3 edits not saved yet" in other.locator("#saved").inner_text()
    press(page, "ArrowDown", "2", "w")
    saved(page)
    other.unroute_all()
    saved(other)
    assert "somebody else has changed the segment meanwhile" in other.locator("#notice").inner_text()
    for tab in (page, other):
        wait_until(tab, "model.byId('d1').status === 'rejected'")
        assert tab.evaluate("[model.byId('d0').start, model.byId('d0').end]") == [2.1, 4]
    assert rows(written(out, count=1)) == [(2.1, 4, "walk")]
    other.close()


def test_a_journal_that_cannot_be_written_is_told_and_edits_wait(
    context: Any, videos: dict[str, Path], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(entries: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tab = context.new_page()  # its console has the requests that are refused
    found = write_found(tmp_path / "detections.json", FOUND)
    with served(videos, out=out, detections=found) as (address, session):
        opened(tab, address)
        with monkeypatch.context() as patched:
            patched.setattr(session._journal, "append", full)
            press(tab, "ArrowDown", "a")
            wait_until(tab, "model.problem !== null")
            told = tab.locator("#saved").inner_text()
            assert told == "1 edit not saved: the journal cannot be written (No space left on device)"
        saved(tab)
        assert rows(written(out, count=1)) == [(2, 4, "walk")]
        tab.close()


def test_unsaved_edits_survive_the_page(context: Any, tab: Any, address: str, out: Path) -> None:
    cut = context.new_page()  # its console has the requests that fail
    opened(cut, address)
    cut_off(cut)
    press(cut, "ArrowDown", "a", "a")
    wait_until(cut, "!model.isOnline")
    cut.close()
    assert not out.exists()
    opened(tab, address)
    saved(tab)
    assert rows(written(out, count=2)) == [(2, 4, "walk"), (6, 7, "groom")]


def test_every_key_of_the_help_is_listed_once(page: Any) -> None:
    press(page, "?")
    assert page.locator("#help").is_visible()
    keys = page.evaluate("KEYS.flatMap((entry) => entry.keys ?? [])")
    assert len(keys) == len(set(keys))
    listed = page.locator("#help-keys kbd").all_inner_texts()
    for key in ("Space", "J", "K", "L", "A", "X", "S", "N", "M", "?", "Z, Ctrl+Z"):
        assert key in listed
    press(page, "a", "Escape")
    assert page.evaluate("edits.done.length") == 0 and not page.locator("#help").is_visible()


def test_typing_is_not_taken_for_keys(page: Any) -> None:
    press(page, "ArrowDown", "/")
    page.keyboard.type("max 2")
    assert page.locator("#search").input_value() == "max 2" and page.evaluate("edits.done.length") == 0


def test_a_video_that_browsers_do_not_play_is_told_by_its_codec(tab: Any, tmp_path: Path, out: Path) -> None:
    import numpy as np

    write_video(tmp_path / "old.avi", np.zeros((20, 32, 32, 3), np.uint8), fps=10, codec="mpeg4")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with reviewing(tab, {name: tmp_path / name for name in ("old.avi", "broken.mp4")}, out=out, classes=["x"]) as page:
        wait_until(page, "!byId('no-video').hidden")
        told = page.locator("#no-video").inner_text()
        assert "mpeg4" in told and "avi" in told and "--convert" in told
        press(page, "n", "Shift+ArrowRight", "n", "PageDown")  # the timeline works all the same
        saved(page)
        wait_until(page, "model.video.id === 'broken.mp4'")
        assert "not a readable video file" in page.locator("#no-video").inner_text()


def test_names_that_are_code_stay_text(tab: Any, videos: dict[str, Path], tmp_path: Path, out: Path) -> None:
    files = dict(zip(HOSTILE[:2], videos.values(), strict=True))
    found = write_found(tmp_path / "d.json", {name: [(1.0, 2.0, other, 0.9) for other in HOSTILE] for name in files})
    with reviewing(tab, files, out=out, detections=found, annotator=HOSTILE[1]) as page:
        assert page.locator("#video-name").evaluate("(element) => element.textContent") == HOSTILE[0]
        press(page, "ArrowDown", "a", "a", "z", "c", "Escape", "?", "Escape")
        saved(page)
        assert page.title().startswith("videos")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


def test_everything_that_can_be_operated_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll("a[href], button, input, select, [role], [tabindex='0']")]
        .filter((element) => !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") ||
          element.textContent.trim() || element.closest("label")?.textContent.trim() || element.labels?.length ||
          ["saved", "notice"].includes(element.id)))
        .map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


def test_tab_reaches_everything_and_shows_where_it_is(page: Any) -> None:
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        press(page, "Tab")
        place = page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        if place in seen:
            break
        seen.append(place)
        if page.evaluate("document.activeElement !== document.body"):
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            inner = page.evaluate("document.activeElement.matches('#list, #segments')")
            assert style != "none" or inner, place
    assert {"annotator", "theme", "help-open", "search", "list", "segments", "score", "timeline"} <= set(seen)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_both_themes_draw_the_timeline_in_their_colours(page: Any) -> None:
    colour = """() => {
      timeline.draw();
      const pen = timeline.canvas.getContext("2d");
      return [...pen.getImageData(timeline.canvas.width - 3, timeline.canvas.height - 3, 1, 1).data].join();
    }"""
    first = page.evaluate(colour)
    page.locator("#theme").click()
    page.wait_for_timeout(100)
    assert page.evaluate(colour) != first
    page.evaluate("localStorage.clear()")


def test_thousands_of_segments_are_a_few_elements(tab: Any, tmp_path: Path, out: Path) -> None:
    """How fast they are drawn: benchmarks/review.py."""
    review.write_long_video(tmp_path / "long.mp4", seconds=7200, fps=1)
    found = tmp_path / "detections.json"
    review.write_detections(found, seconds=7200, num_segments=5000, num_classes=12)
    with reviewing(tab, {"long": tmp_path / "long.mp4"}, out=out, detections=found) as page:
        page.locator("#score").fill("0")
        assert page.locator("#segments-title").inner_text() == "5,000 segments"
        assert page.evaluate("document.querySelectorAll('*').length") < 700
        page.locator("#segments").focus()
        press(page, "End", "Enter")
        last = page.evaluate("edits.segment.start")
        assert last > 7000
        # It is in view.
        assert 0 <= page.evaluate("timeline.x(edits.segment.start)") <= page.evaluate("timeline.width")
