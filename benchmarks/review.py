"""How smoothly the timeline of `re2tal review` scrolls and zooms, with thousands of segments on a long video.

    python benchmarks/review.py [--segments 5000] [--hours 2] [--classes 12] [--frames 240] [--json]
    python benchmarks/review.py --picture docs/pictures/review.png

Needs playwright (extra `dev`) and Chromium. The page is opened in a headless browser, 1280 x 900 pixels, without a
graphics processor. `frame` is the time from one animation frame to the next while the timeline moves in each of them;
a screen of 60 frames per second allows 16.7 ms. `drawing` is the time that drawing takes within a frame. Three ways of
moving: through the whole video at a zoom that shows ten minutes, through a part of it at a zoom that shows one, and
zooming from the whole video to seconds.

With --picture the page is drawn instead, with videos of the demo and detections made up from their annotations.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import uvicorn
from report_page import browser, find_chromium

from re2tal.data.demo import make_demo_set
from re2tal.report import review
from re2tal.video import write_video

TOKEN = "0" * 32

# Moves the timeline in every animation frame and notes how long frames and drawing took.
MOVE = """([way, count]) => new Promise((done) => {
  const frames = [];
  const drawing = [];
  const draw = timeline.draw;
  timeline.draw = function () {
    const start = performance.now();
    draw.call(this);
    drawing.push(performance.now() - start);
  };
  const minutes = { far: 10, near: 1 }[way];
  if (minutes) timeline.zoom(timeline.width / (60 * minutes) / timeline.scale, 0);
  else timeline.fit();
  timeline.box.scrollLeft = 0;
  const last = timeline.box.scrollWidth - timeline.width;
  let number = 0;
  let before = null;
  const step = (now) => {
    if (before !== null) frames.push(now - before);
    before = now;
    if (number++ === count) {
      timeline.draw = draw;
      done({ frames, drawing });
      return;
    }
    if (way === "far") timeline.box.scrollLeft = (last * number) / count;
    else if (way === "near") timeline.box.scrollLeft = 9 * number;
    else timeline.zoom(number <= count / 2 ? 1.06 : 1 / 1.06, timeline.width / 2);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


@contextmanager
def served(
    files: Mapping[str, Path], *, out: Path, port: int = 0, annotator: str = "Ada", **sources: Any
) -> Iterator[tuple[str, review.ReviewSession]]:
    """A review in this process: the address of its page, and its session; `sources` as of `read_material`."""
    sources = {"detections": None, "annotations": None, **sources}
    material = review.read_material(files, **sources)
    journal = review.Journal(out.with_name(f"{out.stem}.journal.jsonl"), inputs=material.inputs)
    session = review.ReviewSession(material, journal, annotations=sources["annotations"], out=out)
    listening = review.listen(port)
    port = listening.getsockname()[1]
    settings = review.PageSettings(title="videos", annotator=annotator)
    app = review.review_app(session, token=TOKEN, port=port, settings=settings)
    server = uvicorn.Server(
        uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_level="error", timeout_graceful_shutdown=1)
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://{review.HOST}:{port}/{TOKEN}/", session
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        session.close()


def write_long_video(path: Path, *, seconds: int, fps: int = 2) -> None:
    """A tiny video whose frames get brighter with time; two hours are a few hundred kilobytes."""
    count = seconds * fps
    write_video(
        path,
        (np.full((32, 32, 3), 255 * number // count, np.uint8) for number in range(count)),
        fps=fps,
        key_interval=10 * fps,
    )


def write_detections(path: Path, *, seconds: float, num_segments: int, num_classes: int, seed: int = 0) -> None:
    """Segments of half a second to half a minute, of all scores, anywhere in the video `long`."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, seconds - 30, num_segments)
    ends = starts + np.exp(rng.uniform(np.log(0.5), np.log(30), num_segments))
    labels, scores = rng.integers(0, num_classes, num_segments), rng.beta(1, 2, num_segments)
    rows = [
        {"segment": [start, end], "label": f"class {label:02d}", "score": score}
        for start, end, label, score in zip(
            starts.tolist(), ends.tolist(), labels.tolist(), scores.tolist(), strict=True
        )
    ]
    path.write_text(json.dumps({"results": {"long": rows}}))


def measure(*, num_segments: int, hours: float, num_classes: int, num_frames: int) -> dict[str, Any]:
    """Milliseconds of each way of moving."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_long_video(folder / "long.mp4", seconds=round(hours * 3600))
        found = folder / "detections.json"
        write_detections(found, seconds=hours * 3600, num_segments=num_segments, num_classes=num_classes)
        with (
            served({"long": folder / "long.mp4"}, out=folder / "corrected.json", detections=found) as (address, _),
            browser(viewport={"width": 1280, "height": 900}) as context,
        ):
            page = context.new_page()
            page.goto(address)
            wait_until_ready(page)
            page.locator("#score").fill("0")  # every one of the segments is shown
            for way in ("far", "near", "zoom"):
                page.evaluate(MOVE, [way, 10])
                taken = page.evaluate(MOVE, [way, num_frames])
                rows[way] = {kind: summary(values) for kind, values in taken.items()}
            shown = page.evaluate("timeline.lanes.flatMap((lane) => lane.rows.flatMap((row) => row.segments)).length")
    return {"segments": num_segments, "shown": shown, "hours": hours, "classes": num_classes, "ms": rows}


def summary(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"median": statistics.median(values), "p95": statistics.quantiles(values, n=20)[-1]}


def wait_until_ready(page: Any) -> None:
    """Until the first video is open."""
    for _ in range(3000):
        if page.evaluate("performance.getEntriesByName('review-ready').length === 1"):
            return
        page.wait_for_timeout(20)
    raise RuntimeError("the page of the review did not open in a minute")


def draw(path: Path, *, dark: bool = False) -> None:
    """The page with a few edits done, as a picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_demo_set(folder, num_train=1, num_test=5)
        files = {file.stem: file for file in sorted((folder / "videos").glob("*.mp4"))}
        found = folder / "detections.json"
        found.write_text(json.dumps({"results": made_up_detections(folder / "annotations.json")}))
        with (
            served(files, out=folder / "corrected.json", detections=found) as (address, _),
            browser(viewport={"width": 1120, "height": 840}, color_scheme="dark" if dark else "light") as context,
        ):
            page = context.new_page()
            page.goto(address)
            wait_until_ready(page)
            for key in ("PageDown", "ArrowDown", "a", "a", "x", "Home", "m", "Shift+ArrowRight", "m", "ArrowDown"):
                page.keyboard.press(key)
                page.wait_for_timeout(200)
            page.wait_for_timeout(5500)  # what was said makes room for the chosen segment
            page.screenshot(path=path)


def made_up_detections(annotations: Path, *, seed: int = 1) -> dict[str, Any]:
    """What a detector may find: most actions a little off, some twice, and some things that are not there."""
    rng = np.random.default_rng(seed)
    database = json.loads(annotations.read_text())["database"]
    labels = sorted({row["label"] for entry in database.values() for row in entry["annotations"]})
    results: dict[str, Any] = {}
    for name, entry in database.items():
        rows = results.setdefault(name, [])
        for row in entry["annotations"]:
            for score in (rng.uniform(0.6, 0.95), rng.uniform(0.05, 0.4)):
                start, end = np.array(row["segment"]) + rng.normal(0, 0.25, 2)
                rows.append({"segment": [max(start, 0), max(end, start + 0.2)], "label": row["label"], "score": score})
        for score in rng.beta(1.2, 3, 6):
            start = rng.uniform(0, entry["duration"] - 2)
            rows.append(
                {"segment": [start, start + rng.uniform(0.4, 2)], "label": str(rng.choice(labels)), "score": score}
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=5000)
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--frames", type=int, default=240, help="animation frames of each way of moving")
    parser.add_argument("--picture", type=Path, help="PNG to draw instead")
    parser.add_argument("--dark", action="store_true", help="draw the dark theme")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    options = parser.parse_args()
    if find_chromium() is None:
        parser.error("no chromium, chromium-browser or google-chrome on the path; install one")
    if options.picture is not None:
        draw(options.picture, dark=options.dark)
        return
    row = measure(
        num_segments=options.segments, hours=options.hours, num_classes=options.classes, num_frames=options.frames
    )
    if options.json:
        print(json.dumps(row))
        return
    print(f"{row['shown']} segments shown, {row['hours']:g} hours, {row['classes']} classes")
    print("| moving | frame, median | frame, 95th percentile | drawing, median | drawing, 95th percentile |")
    print("|---|---|---|---|---|")
    for way, taken in row["ms"].items():
        values = [taken[kind][what] for kind in ("frames", "drawing") for what in ("median", "p95")]
        print(f"| {way} | " + " | ".join(f"{value:.1f} ms" for value in values) + " |")


if __name__ == "__main__":
    main()
