"""The page of a review in a browser: by keyboard alone, by mouse, in two tabs, without its server."""

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_page
import review
from review import served

from re2tal.video import write_video
from tests.report.report_data import HOSTILE
from tests.report.review.review_data import database_of, write_clip, write_found

pytest.importorskip("playwright", reason="playwright is not installed; pip install 're2tal[dev]'")
pytestmark = pytest.mark.skipif(
    report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium"
)

FOUND = {
    "m1": [(2.0, 4.0, "walk", 0.9), (6.0, 7.0, "groom", 0.6), (10.0, 14.0, "walk", 0.5), (10.2, 14.0, "walk", 0.4)],
    "m2": [(3.0, 5.0, "groom", 0.35)],
}


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with report_page.browser(viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_clip(folder / f"{name}.mp4") for name in ("m1", "m2")}


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A tab; whatever goes wrong in it fails the test."""
    tab = context.new_page()
    wrong: list[str] = []
    watch(tab, wrong)
    yield tab
    tab.close()
    assert wrong == []


def watch(tab: Any, wrong: list[str]) -> None:
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: wrong.append(request.url) if "//127.0.0.1:" not in request.url else None)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "corrected.json"


@pytest.fixture
def address(page: Any, videos: dict[str, Path], tmp_path: Path, out: Path) -> Iterator[str]:
    found = write_found(tmp_path / "detections.json", FOUND)
    with served(videos, out=out, detections=found) as (where, _):
        yield where
        page.goto("about:blank")  # or it would ask a server that is gone


def wait_until(page: Any, expression: str, *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(20)


def opened(page: Any, address: str) -> None:
    page.goto(address)
    review.wait_until_ready(page)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def saved(page: Any) -> None:
    wait_until(page, "model.pending.length === 0 && model.isOnline")


def written(path: Path, *, video: str = "m1", count: int) -> dict[str, Any]:
    """The entry of a video once it has `count` annotations; the file follows the edits after a moment."""
    end = time.monotonic() + 30
    while True:
        entry = database_of(path).get(video) if path.exists() else None
        if entry is not None and len(entry["annotations"]) == count:
            return entry
        assert time.monotonic() < end, entry
        time.sleep(0.05)


def rows(entry: dict[str, Any]) -> list[tuple[float, float, str]]:
    return [(*row["segment"], row["label"]) for row in entry["annotations"]]


def chosen(page: Any) -> Any:
    return page.evaluate(
        "edits.segment && [edits.segment.start, edits.segment.end, edits.segment.label, edits.segment.status]"
    )


def said(page: Any) -> str:
    return str(page.locator("#about-segment").inner_text()).replace("\u2068", "").replace("\u2069", "")


def test_a_whole_review_by_keyboard_alone(page: Any, address: str, out: Path) -> None:
    opened(page, address)
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


def test_everything_can_be_taken_back_and_done_again(page: Any, address: str, out: Path) -> None:
    opened(page, address)
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


def test_a_proposal_like_one_that_is_kept_needs_no_decision(page: Any, address: str) -> None:
    opened(page, address)
    assert page.evaluate("model.segments.filter(isOpen).length") == 4
    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "a")
    assert page.evaluate("model.segments.filter(isOpen).map((segment) => segment.start)") == [2, 6]


def test_the_slider_chooses_what_is_proposed_and_u_the_least_sure(page: Any, address: str) -> None:
    opened(page, address)
    press(page, "u")
    assert chosen(page) == [10.2, 14, "walk", "proposed"]
    page.locator("#score").fill("0.55")
    assert page.locator("#score-value").inner_text() == "0.55"
    assert page.evaluate("edits.visible.length") == 2
    page.locator("#timeline").focus()
    press(page, "u")
    assert chosen(page) == [6, 7, "groom", "proposed"]


def test_the_next_uncertain_one_may_be_in_another_video(page: Any, address: str) -> None:
    opened(page, address)
    wait_until(page, "videoList.about.length === 2 && videoList.about[1].open === 1")
    press(page, "ArrowDown", "x", "x", "x", "x", "u")
    wait_until(page, "model.video.id === 'm2' && edits.segment !== null")
    assert chosen(page) == [3, 5, "groom", "proposed"]


def test_playing_by_j_k_l(page: Any, address: str) -> None:
    opened(page, address)
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


def test_single_frames_are_those_of_the_file(page: Any, address: str) -> None:
    opened(page, address)
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


def test_two_hours_seek_anywhere(page: Any, tmp_path: Path, out: Path) -> None:
    review.write_long_video(tmp_path / "long.mp4", seconds=7200)
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if "/media/" in answer.url else None)
    with served({"long": tmp_path / "long.mp4"}, out=out, classes=["walk"]) as (address, _):
        opened(page, address)
        wait_until(page, "player.video.readyState >= 2")
        for seconds in (7000, 60, 3600):
            page.evaluate(f"playing.seek({seconds})")
            wait_until(page, "!player.video.seeking && player.video.readyState >= 2")
            assert brightness(page) == pytest.approx(255 * seconds / 7200, abs=6)
        press(page, "n", *["Shift+ArrowRight"] * 3, "n")
        saved(page)
        assert rows(written(out, video="long", count=1)) == [(3600, 3603, "walk")]
        page.goto("about:blank")
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


def test_the_mouse_chooses_drags_edges_moves_draws_and_marks(page: Any, address: str, out: Path) -> None:
    opened(page, address)
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


def test_escape_forgets_what_was_begun(page: Any, address: str) -> None:
    opened(page, address)
    press(page, "n", "Shift+ArrowRight", "Escape", "m", "Shift+ArrowRight", "Escape")
    assert page.evaluate("model.pending.length + edits.done.length") == 0


def test_an_event_without_length_can_be_labelled(page: Any, address: str, out: Path) -> None:
    opened(page, address)
    press(page, "2", "Shift+ArrowRight", "n", "n")
    saved(page)
    assert rows(written(out, count=1)) == [(1, 1, "walk")]


def test_labelling_from_nothing_with_a_new_class(page: Any, videos: dict[str, Path], out: Path) -> None:
    with served(videos, out=out) as (address, _):
        opened(page, address)
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
        page.goto("about:blank")


def test_another_annotator_may_go_on(page: Any, address: str, out: Path) -> None:
    opened(page, address)
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
    page: Any, videos: dict[str, Path], tmp_path: Path, out: Path
) -> None:
    first = tmp_path / "first.json"
    stretches = [
        {"video": "m1", "start": 15, "end": 17, "score": 0.2},
        {"video": "m2", "start": 8, "end": 9, "score": 0.9},
    ]
    first.write_text(json.dumps({"suggestions": stretches}))
    with served(videos, out=out, first=first) as (address, _):
        opened(page, address)
        press(page, "g")
        wait_until(page, "model.video.id === 'm2' && Math.abs(playing.time - 8) < 0.2")
        press(page, "g")
        wait_until(page, "model.video.id === 'm1' && Math.abs(playing.time - 15) < 0.2")
        page.goto("about:blank")


def test_what_one_tab_does_the_other_shows(page: Any, context: Any, address: str) -> None:
    opened(page, address)
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
    opened(page, address)
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


def test_unsaved_edits_survive_the_page(context: Any, page: Any, address: str, out: Path) -> None:
    tab = context.new_page()
    opened(tab, address)
    cut_off(tab)
    press(tab, "ArrowDown", "a", "a")
    wait_until(tab, "!model.isOnline")
    tab.close()
    assert not out.exists()
    opened(page, address)
    saved(page)
    assert rows(written(out, count=2)) == [(2, 4, "walk"), (6, 7, "groom")]


def test_every_key_of_the_help_is_listed_once(page: Any, address: str) -> None:
    opened(page, address)
    press(page, "?")
    assert page.locator("#help").is_visible()
    keys = page.evaluate("KEYS.flatMap((entry) => entry.keys ?? [])")
    assert len(keys) == len(set(keys))
    listed = page.locator("#help-keys kbd").all_inner_texts()
    for key in ("Space", "J", "K", "L", "A", "X", "S", "N", "M", "?", "Z, Ctrl+Z"):
        assert key in listed
    press(page, "a", "Escape")
    assert page.evaluate("edits.done.length") == 0 and not page.locator("#help").is_visible()


def test_typing_is_not_taken_for_keys(page: Any, address: str) -> None:
    opened(page, address)
    press(page, "ArrowDown", "/")
    page.keyboard.type("max 2")
    assert page.locator("#search").input_value() == "max 2" and page.evaluate("edits.done.length") == 0


def test_a_video_that_browsers_do_not_play_is_told_by_its_codec(page: Any, tmp_path: Path, out: Path) -> None:
    import numpy as np

    write_video(tmp_path / "old.avi", np.zeros((20, 32, 32, 3), np.uint8), fps=10, codec="mpeg4")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with served({name: tmp_path / name for name in ("old.avi", "broken.mp4")}, out=out, classes=["x"]) as (address, _):
        opened(page, address)
        wait_until(page, "!byId('no-video').hidden")
        told = page.locator("#no-video").inner_text()
        assert "mpeg4" in told and "avi" in told and "--convert" in told
        press(page, "n", "Shift+ArrowRight", "n", "PageDown")  # the timeline works all the same
        saved(page)
        wait_until(page, "model.video.id === 'broken.mp4'")
        assert "not a readable video file" in page.locator("#no-video").inner_text()
        page.goto("about:blank")


def test_names_that_are_code_stay_text(page: Any, videos: dict[str, Path], tmp_path: Path, out: Path) -> None:
    files = dict(zip(HOSTILE[:2], videos.values(), strict=True))
    found = write_found(tmp_path / "d.json", {name: [(1.0, 2.0, other, 0.9) for other in HOSTILE] for name in files})
    with served(files, out=out, detections=found, annotator=HOSTILE[1]) as (address, _):
        opened(page, address)
        assert page.locator("#video-name").evaluate("(element) => element.textContent") == HOSTILE[0]
        press(page, "ArrowDown", "a", "a", "z", "c", "Escape", "?", "Escape")
        saved(page)
        assert page.title().startswith("videos")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        page.goto("about:blank")


def test_everything_that_can_be_operated_has_a_name(page: Any, address: str) -> None:
    opened(page, address)
    nameless = page.evaluate(
        """[...document.querySelectorAll("a[href], button, input, select, [role], [tabindex='0']")]
        .filter((element) => !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") ||
          element.textContent.trim() || element.closest("label")?.textContent.trim() || element.labels?.length ||
          ["saved", "notice"].includes(element.id)))
        .map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


def test_tab_reaches_everything_and_shows_where_it_is(page: Any, address: str) -> None:
    opened(page, address)
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
def test_nothing_is_wider_than_the_screen(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_both_themes_draw_the_timeline_in_their_colours(page: Any, address: str) -> None:
    opened(page, address)
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


def test_thousands_of_segments_are_a_few_elements(page: Any, tmp_path: Path, out: Path) -> None:
    """How fast they are drawn: benchmarks/review.py."""
    review.write_long_video(tmp_path / "long.mp4", seconds=7200, fps=1)
    found = tmp_path / "detections.json"
    review.write_detections(found, seconds=7200, num_segments=5000, num_classes=12)
    with served({"long": tmp_path / "long.mp4"}, out=out, detections=found) as (address, _):
        opened(page, address)
        page.locator("#score").fill("0")
        assert page.locator("#segments-title").inner_text() == "5,000 segments"
        assert page.evaluate("document.querySelectorAll('*').length") < 700
        page.locator("#segments").focus()
        press(page, "End", "Enter")
        last = page.evaluate("edits.segment.start")
        assert last > 7000
        # It is in view.
        assert 0 <= page.evaluate("timeline.x(edits.segment.start)") <= page.evaluate("timeline.width")
        page.goto("about:blank")
