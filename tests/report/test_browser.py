"""The page in a browser: clicks, slider, seeking, keyboard, search, phones, hostile names, thousands of videos."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_page

from re2tal.report import ReportVideos, Sources, TruthSource, write_report
from re2tal.video import write_video
from tests.report.browsing import wait_until
from tests.report.report_data import HOSTILE, write_found, write_three, write_truth

pytest.importorskip("playwright", reason="playwright is not installed; pip install 're2tal[dev]'")
pytestmark = pytest.mark.skipif(
    report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium"
)

FPS, SECONDS = 10, 20


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three videos, two of which have a file."""
    folder = tmp_path_factory.mktemp("three")
    truth, found = write_three(folder)
    (folder / "videos").mkdir()
    for name in ("first", "second"):
        frames = np.broadcast_to(
            np.arange(FPS * SECONDS, dtype=np.uint8)[:, None, None, None], (FPS * SECONDS, 32, 32, 3)
        )
        write_video(folder / "videos" / f"{name}.mp4", frames, fps=FPS)
    out = folder / "report.html"
    sources = Sources(
        title="three",
        detections=found,
        truth=TruthSource(path=truth),
        tious=(0.3, 0.5, 0.9),
        videos=ReportVideos(path=folder / "videos"),
    )
    write_report(sources, out=out)
    write_report(sources, out=folder / "embedded.html", embed=True)
    return out


def opened(page: Any, path: Path) -> None:
    page.goto(path.as_uri())
    wait_until(page, "performance.getEntriesByName('report-ready').length === 1")


def text_of(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())


def wait_for_video(page: Any) -> None:
    wait_until(page, "player.video.readyState >= 2")


def set_score(page: Any, score: float) -> None:
    page.locator("#score").fill(str(round(100 * score)))


@pytest.mark.parametrize("name", ["report.html", "embedded.html"])
def test_a_click_on_a_segment_plays_it_to_its_end(page: Any, three: Path, name: str) -> None:
    opened(page, three.with_name(name))
    wait_for_video(page)
    page.evaluate("player.video.playbackRate = 8; player.video.muted = true")
    page.locator(".segment.truth").first.click()  # run, 2 to 6 s
    wait_until(page, "!player.video.paused || player.video.currentTime > 2")
    assert page.evaluate("player.video.currentTime") >= 2
    wait_until(page, "player.video.paused")
    assert 6 <= page.evaluate("player.video.currentTime") < 8
    assert (
        text_of(page, "#about-segment")
        .replace("\u2068", "")
        .replace("\u2069", "")
        .startswith("Ground truth run, 0:02.0 to 0:06.0, found at tIoU 0.5")
    )


def test_a_click_between_segments_seeks(page: Any, three: Path) -> None:
    opened(page, three)
    wait_for_video(page)
    page.locator(".canvas .ruler").scroll_into_view_if_needed()
    box = page.locator(".canvas .ruler").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_until(page, "!player.video.seeking")
    assert page.evaluate("player.video.currentTime") == pytest.approx(10, abs=0.2)
    head = page.locator(".playhead").bounding_box()
    assert head["x"] == pytest.approx(box["x"] + box["width"] / 2, abs=3)


def test_the_slider_takes_detections_away_and_the_figures_follow(page: Any, three: Path) -> None:
    opened(page, three)
    set_score(page, 0.0)
    assert page.locator(".track.found .segment").count() == 3
    assert text_of(page, "#live-precision") == "66.7 %" and text_of(page, "#live-recall") == "80.0 %"
    assert "2 of 2 actions found, 1 wrong" in text_of(page, "#video-0")
    set_score(page, 0.85)
    assert page.locator(".track.found .segment").count() == 1
    assert text_of(page, "#live-precision") == "100.0 %" and text_of(page, "#live-recall") == "20.0 %"
    assert "1 of 2 actions found, 0 wrong" in text_of(page, "#video-0")
    assert page.locator(".segment.truth.missed").count() == 1


def test_a_higher_tiou_makes_detections_wrong(page: Any, three: Path) -> None:
    opened(page, three)
    set_score(page, 0.5)
    assert page.locator(".segment.right").count() == 2
    page.locator("#tiou").select_option(label="0.9")
    assert page.locator(".segment.right").count() == 1 and page.locator(".segment.wrong").count() == 1


def test_the_timeline_works_by_keyboard(page: Any, three: Path) -> None:
    opened(page, three)
    wait_for_video(page)
    set_score(page, 0.0)
    focused = "document.activeElement.dataset.key"
    page.locator("#zoom-in").focus()
    page.keyboard.press("Tab")
    if page.evaluate(focused) is None:  # the scrolling box itself
        page.keyboard.press("Tab")
    assert page.evaluate(focused) == "truth-0"  # run, the first lane
    for key, place in (
        ("ArrowDown", "found-0"),
        ("ArrowRight", "found-0"),  # there is no further one
        ("ArrowDown", "truth-1"),  # jump
        ("ArrowDown", "found-1"),  # 10.5 to 14 s: its middle is nearer than that of 10 to 13 s
        ("ArrowLeft", "found-2"),
        ("ArrowRight", "found-1"),
        ("ArrowUp", "truth-1"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == place, key
    page.keyboard.press("Enter")
    wait_until(page, "!player.video.paused")
    assert page.evaluate("player.video.currentTime") >= 10
    page.keyboard.press("Space")
    wait_until(page, "player.video.paused")
    page.keyboard.press("Space")
    wait_until(page, "!player.video.paused")
    assert page.evaluate(focused) == "truth-1"


def test_tab_stops_once_in_the_timeline(page: Any, three: Path) -> None:
    opened(page, three)
    set_score(page, 0.0)
    assert page.locator(".segment[tabindex='0']").count() == 1


def test_zooming_widens_the_timeline_and_keeps_the_page(page: Any, three: Path) -> None:
    opened(page, three)
    width = page.locator(".canvas").bounding_box()["width"]
    page.locator("#zoom-in").click()
    page.locator("#zoom-in").click()
    assert page.locator(".canvas").bounding_box()["width"] == pytest.approx(4 * width, rel=0.01)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_videos_are_searched_sorted_and_opened(page: Any, three: Path) -> None:
    opened(page, three)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("SEC")
    assert page.locator(".row").count() == 1 and "1 of 3 videos" in text_of(page, "#num-listed")
    page.keyboard.press("Enter")
    assert text_of(page, "#video-name") == "second"
    page.locator("#search").fill("")
    page.locator("#order").select_option("mistakes")
    assert text_of(page, ".row >> nth=0").startswith("second")
    page.locator("#class").select_option(label="jump")
    assert page.locator(".row").count() == 2
    assert page.locator(".lane").count() == 1


def test_the_list_works_by_keyboard(page: Any, three: Path) -> None:
    opened(page, three)
    page.locator("#list").focus()
    page.keyboard.press("End")
    assert page.locator("#list").get_attribute("aria-activedescendant") == "video-2"
    assert text_of(page, "#video-name") == "first"  # looking through the list loads nothing
    page.keyboard.press("Enter")
    assert text_of(page, "#video-name") == "third"
    assert page.locator("#video-2").get_attribute("aria-selected") == "true"


def test_a_video_without_file_says_where_it_was_looked_for(page: Any, three: Path) -> None:
    opened(page, three)
    page.locator("#video-2").click()
    assert "No file for" in text_of(page, "#no-video") and str(three.parent / "videos") in text_of(page, "#no-video")
    page.locator(".segment").first.click()
    assert "run" in text_of(page, "#about-segment")
    page.locator("#video-0").click()
    wait_for_video(page)


def test_a_file_that_cannot_be_played_is_told(page: Any, tmp_path: Path) -> None:
    _, found = write_three(tmp_path)
    (tmp_path / "first.mp4").write_bytes(b"no video at all")
    sources = Sources(title="x", detections=found, videos=ReportVideos(path=tmp_path))
    write_report(sources, out=tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    wait_until(page, "!document.getElementById('no-video').hidden")
    assert "cannot play this file" in text_of(page, "#no-video")


def test_the_timeline_is_as_long_as_the_file_where_nobody_said_how_long(page: Any, three: Path) -> None:
    out = three.with_name("alone.html")
    videos = ReportVideos(path=three.parent / "videos")
    write_report(Sources(title="x", detections=three.with_name("detections.json"), videos=videos), out=out)
    opened(page, out)
    wait_until(page, "timeline.seconds > 14")
    assert page.evaluate("timeline.seconds") == pytest.approx(SECONDS, abs=0.2)
    assert page.locator(".segment.truth").count() == 0 and page.locator(".segment.right").count() >= 2


def test_a_class_shows_its_curves_and_tables_sort(page: Any, three: Path) -> None:
    opened(page, three)
    before = page.locator("#precision .line").nth(2).get_attribute("d")
    page.get_by_role("button", name="run", exact=True).click()
    assert "run" in text_of(page, "#precision .which")
    assert page.locator("#precision .line").nth(2).get_attribute("d") != before
    names = "[...document.querySelectorAll('#ap-table tbody bdi')].map((name) => name.textContent)"
    assert page.evaluate(names) == ["jump", "run"]
    page.get_by_role("button", name="Actions").click()
    assert page.evaluate(names) == ["run", "jump"]  # three actions and two
    page.get_by_role("button", name="Actions").click()
    assert page.evaluate(names) == ["jump", "run"]


def test_the_theme_follows_the_system_and_the_button(page: Any, three: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    opened(page, three)
    dark = page.evaluate(colour)
    page.locator("#theme").click()
    light = page.evaluate(colour)
    assert light != dark
    page.reload()
    assert page.evaluate(colour) == light
    page.evaluate("localStorage.clear()")
    page.emulate_media(color_scheme="light")
    page.reload()
    assert page.evaluate(colour) == light


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_nothing_is_wider_than_the_screen(page: Any, three: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    opened(page, three)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_while_the_page_opens(page: Any, three: Path) -> None:
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => "
        "window.shift += entry.value)).observe({ type: 'layout-shift', buffered: true })"
    )
    opened(page, three)
    wait_for_video(page)
    page.wait_for_timeout(200)
    assert page.evaluate("window.shift") < 0.01


def test_everything_that_can_be_operated_has_a_name(page: Any, three: Path) -> None:
    opened(page, three)
    nameless = page.evaluate(
        """[...document.querySelectorAll(
          "a[href], button, input, select, [role=listbox], [tabindex='0'], svg[role=img]")]
        .filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() ||
          element.closest("label")?.textContent.trim() || element.labels?.length))
        .map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


def test_skip_links_lead_to_content_and_videos(page: Any, three: Path) -> None:
    opened(page, three)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#main"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#videos"


def test_names_that_are_code_stay_text(page: Any, tmp_path: Path) -> None:
    truth = write_truth(tmp_path, {name: [(1.0, 2.0, name)] for name in HOSTILE})
    found = write_found(tmp_path, {name: [(1.0, 2.0, name, 0.5)] for name in HOSTILE})
    sources = Sources(title=HOSTILE[0], detections=found, truth=TruthSource(path=truth), notes=HOSTILE)
    write_report(sources, out=tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    for place, name in enumerate(HOSTILE):
        page.locator(f"#video-{place}").click()
        assert page.locator("#video-name").evaluate("(element) => element.textContent") == name
        page.locator(".segment").last.click()
    for button in page.locator(".class-name").all():
        button.click()
    assert page.title().startswith("</script>")
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


@pytest.mark.parametrize("num_videos", [1000, 5000])
def test_thousands_of_videos_are_a_few_elements(page: Any, tmp_path: Path, num_videos: int) -> None:
    sources = report_page.make_detections(tmp_path, num_videos=num_videos, num_detections=10)
    write_report(sources, out=tmp_path / "report.html")
    opened(page, tmp_path / "report.html")
    milliseconds = page.evaluate("performance.getEntriesByName('report-ready')[0].startTime")
    print(f"{num_videos} videos opened in {milliseconds:.0f} ms")  # measured by benchmarks/report_page.py
    count = "document.querySelectorAll('*').length"
    assert page.evaluate(count) < 3000
    page.locator("#list").focus()
    page.keyboard.press("End")
    assert page.locator(f"#video-{num_videos - 1}").is_visible()
    assert page.evaluate(count) < 3000
    page.locator("#search").fill(f"video_{num_videos - 3:05d}")
    page.keyboard.press("Enter")
    assert text_of(page, "#video-name") == f"video_{num_videos - 3:05d}"
    # A generous bound, for a machine that does other things meanwhile; the point is that it is no hang.
    assert milliseconds < 30_000
