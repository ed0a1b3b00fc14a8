"""Files for the tests of the page: a few videos with ground truth and detections, some with hostile names."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = (
    "</script><script>document.title='taken over'</script>",
    '"><img src=x onerror="document.title=\'taken over\'">',
    "<!--<script>",
    "</SCRIPT\n",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eesrever\u2066 and 'quotes' \"both\" & more",
    "javascript:alert(1)//\u2028\u0000end",
)
"""Names that end elements, attributes and comments, turn the direction of writing, or are code to some reader."""


def write_truth(folder: Path, videos: dict[str, list[tuple[float, float, str]]], *, duration: float = 20.0) -> Path:
    """An annotation file of the subset "validation"."""
    database = {
        name: {
            "subset": "validation",
            "duration": duration,
            "annotations": [{"segment": [start, end], "label": label} for start, end, label in actions],
        }
        for name, actions in videos.items()
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": database}))
    return path


def write_found(folder: Path, videos: dict[str, list[tuple[float, float, str, float]]]) -> Path:
    """A file of detections."""
    results = {
        name: [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in rows]
        for name, rows in videos.items()
    }
    path = folder / "detections.json"
    path.write_text(json.dumps({"results": results}))
    return path


def write_three(folder: Path) -> tuple[Path, Path]:
    """Ground truth and detections of three videos: in the first all right, in the second one wrong and one missed."""
    truth = write_truth(
        folder,
        {
            "first": [(2.0, 6.0, "run"), (10.0, 14.0, "jump")],
            "second": [(3.0, 8.0, "jump"), (12.0, 18.0, "run")],
            "third": [(1.0, 4.0, "run")],
        },
    )
    found = write_found(
        folder,
        {
            "first": [(2.0, 6.0, "run", 0.9), (10.5, 14.0, "jump", 0.8), (10.0, 13.0, "jump", 0.2)],
            "second": [(3.0, 8.5, "jump", 0.7), (0.0, 2.0, "run", 0.6)],
            "third": [(1.0, 4.5, "run", 0.5)],
        },
    )
    return truth, found


class Page(HTMLParser):
    """What an HTML reader makes of a page: its elements, its text, and what stands in its script elements."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif not self._inside or self._inside[-1] != "style":
            self.text.append(data)

    def by_id(self, wanted: str) -> dict[str, str | None] | None:
        """The attributes of an element."""
        return next((attributes for _, attributes in self.elements if attributes.get("id") == wanted), None)

    @property
    def payload(self) -> Any:
        """What the scripts work on."""
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "report-data"))


def read_page(path: Path) -> Page:
    """Parse a page that was written."""
    return Page(path.read_text(encoding="utf-8"))
