"""The page as a file: what it holds, that its figures are the metric's, and that no name can break out of it."""

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from re2tal.evaluation import evaluate_files
from re2tal.report import ReportError, ReportVideos, Sources, TruthSource, write_report
from re2tal.report.page import inline_json
from tests.report.report_data import HOSTILE, Page, read_page, write_found, write_three, write_truth

TIOUS = (0.3, 0.5, 0.7)


def page_of(folder: Path, **changes: Any) -> Page:
    truth, found = write_three(folder)
    sources = {"title": "three", "detections": found, "truth": TruthSource(path=truth), "tious": TIOUS} | changes
    options = {name: sources.pop(name) for name in ("embed", "max_detections") if name in sources}
    write_report(Sources(**sources), out=folder / "report.html", **options)
    return read_page(folder / "report.html")


def cells_of(text: str, row: str) -> list[str]:
    """The figures of a row of the table of classes."""
    found = re.search(rf"<bdi>{row}</bdi>.*?</tr>" if row != "All classes" else r">All classes<.*?</tr>", text, re.S)
    assert found is not None
    return re.findall(r"<td[^>]*>(?:<b>)?([\d.]+)", found.group())


def test_the_figures_are_those_of_evaluate(tmp_path: Path) -> None:
    truth, found = write_three(tmp_path)
    written = write_report(
        Sources(title="x", detections=found, truth=TruthSource(path=truth), tious=TIOUS), out=tmp_path / "r.html"
    )
    expected = evaluate_files(truth, found, subset="validation", tious=TIOUS)
    assert written.metrics == expected.metrics
    text = (tmp_path / "r.html").read_text()
    for name, values in expected.per_class.items():
        mean = sum(values) / len(values)
        assert cells_of(text, name)[1:] == [f"{100 * value:.2f}" for value in (mean, *values)]
    assert cells_of(text, "All classes")[1:] == [f"{100 * v:.2f}" for v in (expected.average, *expected.per_tiou)]


def test_every_class_has_its_precision_curves(tmp_path: Path) -> None:
    precision = page_of(tmp_path).payload["precision"]
    assert [len(curves) for curves in (precision["mean"]["curves"], precision["classes"]["0"]["curves"])] == [3, 3]
    # jump: 0.8 and 0.7 right, 0.2 wrong, so that both actions are found with a precision of 1.
    assert set(precision["classes"]["0"]["curves"][0]) == {1000}


def test_videos_say_which_detection_finds_which_action(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    first, second, third = page.payload["videos"]
    assert first["found"]["score"] == [0.9, 0.8, 0.2]
    assert first["right"][1] == [0, 0, 1, 1] and second["right"][1] == [0, 0] and third["right"][1] == [0, 0]
    counts = page.payload["counts"]
    step = page.payload["steps"].index(0.5)
    assert (counts["actions"], counts["kept"][step], counts["right"][1][step]) == (5, 5, 4)


def test_the_slider_starts_at_the_best_f1(tmp_path: Path) -> None:
    payload = page_of(tmp_path).payload
    # From 0.2 (exclusive) to 0.5: 5 detections, 4 of them right, of 5 actions.
    assert 0.2 < payload["steps"][payload["start"]] <= 0.5


def test_without_ground_truth_there_are_timelines_and_no_metric(tmp_path: Path) -> None:
    page = page_of(tmp_path, truth=None)
    assert page.by_id("videos") and not page.by_id("quality") and not page.by_id("diagnosis") and not page.by_id("tiou")
    assert page.payload["counts"] is None and all("right" not in video for video in page.payload["videos"])
    assert page.payload["videos"][0]["seconds"] == 14.0  # nobody tells more than the last detection


def test_with_nothing_but_ground_truth_there_are_its_timelines(tmp_path: Path) -> None:
    page = page_of(tmp_path, detections=None)
    assert [video["found"]["label"] for video in page.payload["videos"]] == [[], [], []]
    assert page.payload["videos"][0]["seconds"] == 20.0


def test_videos_outside_the_ground_truth_are_shown_without_verdict(tmp_path: Path) -> None:
    truth, _ = write_three(tmp_path)
    found = write_found(tmp_path, {"first": [(2.0, 6.0, "run", 0.9)], "other": [(0.0, 1.0, "run", 1.0)]})
    write_report(Sources(title="x", detections=found, truth=TruthSource(path=truth)), out=tmp_path / "r.html")
    other = read_page(tmp_path / "r.html").payload["videos"][-1]
    assert other["id"] == "other" and "right" not in other and "truth" not in other


def test_only_the_best_detections_of_a_video_are_in_the_page_and_all_are_counted(tmp_path: Path) -> None:
    page = page_of(tmp_path, max_detections=1)
    assert [video["found"]["score"] for video in page.payload["videos"]] == [[0.9], [0.7], [0.5]]
    assert page.payload["counts"]["kept"][0] == 6
    assert "Of each video the 1 best detections are shown" in " ".join(page.text)


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    truth = write_truth(tmp_path, {name: [(1.0, 2.0, name)] for name in HOSTILE})
    found = write_found(tmp_path, {name: [(1.0, 2.0, name, 0.5)] for name in HOSTILE})
    sources = Sources(
        title=HOSTILE[0],
        detections=found,
        truth=TruthSource(path=truth),
        settings={"name": HOSTILE[0], HOSTILE[1]: [HOSTILE[2]]},
        notes=HOSTILE,
    )
    write_report(sources, out=tmp_path / "hostile.html")
    plain = page_of(tmp_path)
    page = read_page(tmp_path / "hostile.html")
    assert len(page.scripts) == len(plain.scripts) == 3
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements} | {"details", "summary", "pre"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.payload["classes"] == sorted(HOSTILE)
    assert [video["id"] for video in page.payload["videos"]] == list(HOSTILE)
    shown = "".join(page.text)
    assert all(name.replace("\0", "") in shown.replace("\ufffd", "").replace("\0", "") for name in HOSTILE)


def test_json_in_the_page_has_no_character_of_markup() -> None:
    value = {name: [name, "\u2028\ud800"] for name in HOSTILE}
    text = inline_json(value)
    assert text.isascii() and not set(text) & set("<>&") and json.loads(text) == value


def test_half_a_surrogate_pair_does_not_stop_the_page(tmp_path: Path) -> None:
    found = tmp_path / "detections.json"
    found.write_text('{"results": {"a\\ud800": [{"segment": [0, 1], "label": "b\\udfff", "score": 0.5}]}}')
    write_report(Sources(title="x", detections=found), out=tmp_path / "r.html")
    assert read_page(tmp_path / "r.html").payload["classes"] == ["b\udfff"]


def test_the_policy_lets_the_pages_own_scripts_run_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for attributes, text in page.scripts:
        if "type" not in attributes:
            assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert not any("style" in attributes for _, attributes in page.elements)


def test_the_page_names_no_address_but_its_own(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    addresses = [a[name] for _, a in page.elements for name in ("src", "href") if a.get(name)]
    assert all(address.startswith(("#", "data:,")) for address in addresses if address)
    code = "".join(text for attributes, text in page.scripts if "type" not in attributes)
    assert set(re.findall(r"https?://[\w./]+", code)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_videos_are_linked_from_where_the_page_lies(tmp_path: Path) -> None:
    videos = tmp_path / "my videos"
    videos.mkdir()
    (videos / "first.mp4").write_bytes(b"1")
    (videos / "second.webm").write_bytes(b"2")
    page = page_of(tmp_path, videos=ReportVideos(path=videos))
    assert [video.get("file") for video in page.payload["videos"]] == [
        "my%20videos/first.mp4",
        "my%20videos/second.webm",
        None,
    ]
    assert page.by_id("player") is not None
    assert "1 of 3 videos have no file" in " ".join(page.text)


def test_embedded_videos_are_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "second.webm").write_bytes(bytes(range(256)))
    page = page_of(tmp_path, videos=ReportVideos(path=tmp_path), embed=True)
    name = page.payload["videos"][1]["embedded"]
    attributes, text = next(item for item in page.scripts if item[0].get("id") == name)
    assert base64.b64decode(text) == bytes(range(256)) and attributes["data-kind"] == "video/webm"
    assert "file" not in page.payload["videos"][1]


def test_too_much_video_to_embed_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("re2tal.report.report.MAX_EMBEDDED_BYTES", 10)
    (tmp_path / "first.mp4").write_bytes(b"0123456789ab")
    with pytest.raises(ReportError, match="leave --embed out"):
        page_of(tmp_path, videos=ReportVideos(path=tmp_path), embed=True)
    assert not (tmp_path / "report.html").exists()


def test_without_video_files_the_page_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    page = page_of(tmp_path, videos=ReportVideos(path=tmp_path / "empty"))
    assert page.by_id("player") is None and str(tmp_path / "empty") in " ".join(page.text)


def test_files_that_have_nothing_in_common_are_an_error(tmp_path: Path) -> None:
    truth, _ = write_three(tmp_path)
    found = write_found(tmp_path, {"v_first": [(0.0, 1.0, "run", 0.5)]})
    with pytest.raises(ReportError, match="no video with detections.*'v_first'.*'first'"):
        write_report(Sources(title="x", detections=found, truth=TruthSource(path=truth)), out=tmp_path / "r.html")
    with pytest.raises(ReportError, match="no video of .*'v_first'"):
        source = TruthSource(path=truth, subset="validation")
        write_report(Sources(title="x", detections=found, truth=source), out=tmp_path / "r.html")


def test_labels_that_have_nothing_in_common_are_told(tmp_path: Path) -> None:
    truth, _ = write_three(tmp_path)
    found = write_found(tmp_path, {"first": [(0.0, 1.0, "running", 0.5)]})
    written = write_report(Sources(title="x", detections=found, truth=TruthSource(path=truth)), out=tmp_path / "r.html")
    assert written.metrics["average_mAP"] == 0
    (note,) = written.notes
    assert note.startswith("No label of the detections is in the ground truth") and "'running'" in note


def test_no_detections_at_all_make_a_page_of_misses(tmp_path: Path) -> None:
    truth, _ = write_three(tmp_path)
    found = write_found(tmp_path, {})
    written = write_report(Sources(title="x", detections=found, truth=TruthSource(path=truth)), out=tmp_path / "r.html")
    assert written.metrics["average_mAP"] == 0
    assert [video["right"][0] for video in read_page(tmp_path / "r.html").payload["videos"]] == [[], [], []]


def test_scores_of_any_size_have_a_slider(tmp_path: Path) -> None:
    found = write_found(tmp_path, {"first": [(0.0, 1.0, "run", -3.0), (2.0, 3.0, "run", 12.0)]})
    write_report(Sources(title="x", detections=found), out=tmp_path / "r.html")
    steps = read_page(tmp_path / "r.html").payload["steps"]
    assert (steps[0], steps[-1]) == (-3.0, 12.0)


def test_an_old_page_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        page_of(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_templates_are_in_the_wheel(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling, which builds the wheel, is not here")
    root = Path(__file__).parents[2]
    (wheel,) = builders.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = root / "re2tal/report/templates"
    files = [path for path in templates.rglob("*") if path.is_file()]
    assert {f"re2tal/report/templates/{path.relative_to(templates).as_posix()}" for path in files} <= names
