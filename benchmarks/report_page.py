"""How long the page of `re2tal report` takes to write and to open, by the number of videos.

    python benchmarks/report_page.py [--videos 100 1000 5000] [--detections 100] [--actions 8] [--repeats 3]
        [--json]

Needs playwright (extra `dev`) and Chromium, looked for as chromium, chromium-browser or google-chrome. A page is
opened from disk in a new browser with an empty profile; `opened in` is from the start of the navigation until the page
has drawn the list and the timeline of the first video. `elements` are those of the document, before and after scrolling
through the list. `slowest answer` is the longest that the page takes to draw after one of: the score slider, a search,
another order, class or tIoU, a video opened, a jump through the list.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from re2tal.report import Sources, TruthSource, write_report

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

NUM_CLASSES = 20
# A machine without a display, without network, possibly a container run by root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Milliseconds until the page has answered and laid itself out anew, by what was done.
ANSWERS = """() => {
  const taken = (act) => {
    const start = performance.now();
    act();
    list.box.getBoundingClientRect();
    return performance.now() - start;
  };
  const set = (id, value, kind) => taken(() => {
    byId(id).value = value;
    byId(id).dispatchEvent(new Event(kind));
  });
  return {
    slider: set("score", 0, "input"),
    release: set("score", 0, "change"),
    search: set("search", "9", "input"),
    order: set("order", "mistakes", "change"),
    class: set("class", "3", "change"),
    tiou: set("tiou", "0", "change"),
    all: set("class", "-1", "change") + set("search", "", "input"),
    open: taken(() => list.open(list.order.length >> 1)),
    scroll: taken(() => {
      list.box.scrollTop = list.rows.clientHeight / 3;
      list.draw();
    }),
  };
}"""


def find_chromium() -> str | None:
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name)) is not None), None)


@contextmanager
def browser(**options: Any) -> Iterator["BrowserContext"]:
    """A headless Chromium with an empty profile; `options` as of playwright's contexts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=find_chromium(), headless=True, args=FLAGS, **options
        )
        try:
            yield context
        finally:
            context.close()


def make_detections(
    folder: Path, *, num_videos: int, num_detections: int, num_actions: int = 8, seed: int = 0
) -> Sources:
    """Ground truth and noisy detections of it, as files in `folder`."""
    rng = np.random.default_rng(seed)
    database: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for number in range(num_videos):
        duration = float(rng.uniform(60, 600))
        starts = np.sort(rng.uniform(0, duration - 10, num_actions))
        ends = starts + rng.uniform(1, 10, num_actions)
        labels = rng.integers(0, NUM_CLASSES, num_actions)
        source = rng.integers(0, num_actions, num_detections)
        noise = rng.normal(0, 2, (2, num_detections))
        found = np.sort(np.stack([starts[source], ends[source]]) + noise, axis=0).clip(0, duration)
        scores = rng.beta(0.5, 3, num_detections)
        name = f"video_{number:05d}"
        database[name] = {
            "subset": "validation",
            "duration": duration,
            "annotations": [
                {"segment": [start, end], "label": f"class {label}"}
                for start, end, label in zip(starts.tolist(), ends.tolist(), labels, strict=True)
            ],
        }
        results[name] = [
            {"segment": [start, end], "label": f"class {label}", "score": score}
            for start, end, label, score in zip(*found.tolist(), labels[source], scores.tolist(), strict=True)
        ]
    truth, detections = folder / "annotations.json", folder / "detections.json"
    truth.write_text(json.dumps({"database": database}))
    detections.write_text(json.dumps({"results": results}))
    return Sources(title=f"{num_videos} videos", detections=detections, truth=TruthSource(path=truth))


def measure(num_videos: int, *, num_detections: int, num_actions: int, repeats: int) -> dict[str, float]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        sources = make_detections(
            Path(folder), num_videos=num_videos, num_detections=num_detections, num_actions=num_actions
        )
        page_path = Path(folder) / "report.html"
        start = time.perf_counter()
        written = write_report(sources, out=page_path)
        seconds = time.perf_counter() - start
        loads, answers, nodes, scrolled = [], [], 0, 0
        for _ in range(repeats):
            with browser(viewport={"width": 1280, "height": 900}) as context:
                page = context.new_page()
                page.goto(page_path.as_uri())
                loads.append(page.evaluate("performance.getEntriesByName('report-ready')[0].startTime"))
                count = "document.querySelectorAll('*').length"
                nodes = page.evaluate(count)
                page.evaluate("const box = document.getElementById('list'); box.scrollTop = box.scrollHeight")
                page.wait_for_timeout(200)
                scrolled = page.evaluate(count)
                answers.append(max(page.evaluate(ANSWERS).values()))
    return {
        "videos": num_videos,
        "detections": num_videos * num_detections,
        "megabytes": written.num_bytes / 1e6,
        "write_s": seconds,
        "load_s": statistics.median(loads) / 1000,
        "slowest_load_s": max(loads) / 1000,
        "slowest_answer_s": statistics.median(answers) / 1000,
        "nodes": nodes,
        "nodes_scrolled": scrolled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--detections", type=int, default=100, help="of each video")
    parser.add_argument("--actions", type=int, default=8, help="of each video")
    parser.add_argument("--repeats", type=int, default=3, help="times that each page is opened")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    options = parser.parse_args()
    if find_chromium() is None:
        parser.error("no chromium, chromium-browser or google-chrome on the path; install one")
    sizes = {"num_detections": options.detections, "num_actions": options.actions}
    rows = [measure(count, **sizes, repeats=options.repeats) for count in options.videos]
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    print(
        "| videos | detections | MB | written in | opened in | slowest | slowest answer | elements | after scrolling |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['videos']} | {row['detections']} | {row['megabytes']:.1f} | {row['write_s']:.1f} s | "
            f"{row['load_s']:.2f} s | {row['slowest_load_s']:.2f} s | {row['slowest_answer_s']:.2f} s | "
            f"{row['nodes']} | {row['nodes_scrolled']} |"
        )


if __name__ == "__main__":
    main()
