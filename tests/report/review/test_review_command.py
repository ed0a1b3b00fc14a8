"""The command as people call it: what it says, what it refuses, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_page

from re2tal.video import write_video
from tests.report.browsing import wait_until
from tests.report.review.browsing import chosen, opened, press, rows, saved
from tests.report.review.review_data import database_of, write_clip, write_found, write_labels

FOUND = {"m1": [(2.0, 4.0, "walk", 0.9), (6.0, 7.0, "groom", 0.6), (10.0, 14.0, "walk", 0.5)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    write_clip(tmp_path / "videos" / "m1.mp4")
    write_found(tmp_path / "detections.json", FOUND)
    return tmp_path


def arguments(folder: Path, *more: object) -> list[object]:
    return ["review", folder / "videos", "--out", folder / "corrected.json", "--no-open", *more]


@contextmanager
def running(folder: Path, *more: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and the address that it prints."""
    command = [sys.executable, "-m", "re2tal", *map(str, arguments(folder, *more))]
    # Its own group, as in a terminal; what it says goes to one pipe.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("http://"):
                break
        assert said and said[-1].startswith("http://127.0.0.1:"), said
        address = said[-1].strip()
        urllib.request.urlopen(address, timeout=60).close()  # from its first answer on it heeds signals
        yield process, address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium")
def test_a_killed_server_loses_nothing_and_the_page_goes_on(folder: Path) -> None:
    pytest.importorskip("playwright")
    more = ("--detections", folder / "detections.json", "--annotator", "Ada")
    with report_page.browser(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        with running(folder, *more) as (process, address):
            opened(page, address)
            press(page, "ArrowDown", "a")
            saved(page)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert chosen(page) == [6, 7, "groom", "proposed"]
            press(page, "r", "a")  # without a server
            wait_until(page, "!model.isOnline")
            assert "not saved yet" in page.locator("#saved").inner_text()
        journal = folder / "corrected.journal.jsonl"
        with journal.open("ab") as file:  # what a kill in the middle of a write leaves
            file.write(b'{"time": "2026-')
        with running(folder, *more) as (process, again):
            assert again == address
            saved(page)
            press(page, "x")
            saved(page)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert process.stdout is not None and "3 edits\nResults: " in process.stdout.read()
        page.close()
    entry = database_of(folder / "corrected.json")["m1"]
    assert rows(entry) == [(2, 4, "walk"), (6, 7.1, "groom")]
    assert entry["labelled"] == [[2, 4], [6, 7.1], [10, 14]]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the browser's processes in /proc")
@pytest.mark.skipif(report_page.find_chromium() is None, reason="no chromium on the path; apt-get install chromium")
def test_a_killed_browser_loses_nothing_that_was_saved(folder: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    more = ("--detections", folder / "detections.json", "--annotator", "Ada")
    with running(folder, *more) as (process, address):
        killed = suppress(playwright.Error)  # of closing what is gone
        with killed, report_page.browser(viewport={"width": 1280, "height": 900}) as context:
            page = context.new_page()
            opened(page, address)
            press(page, "ArrowDown", "a", "r", "a")
            saved(page)
            page.keyboard.down("r")  # the next edit may or may not have reached the server
            assert (pids := browsers_of(os.getpid()))
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)  # so that all there is of the edits is the journal
        process.wait()
    with running(folder, *more) as (process, again):
        assert again == address
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert rows(database_of(folder / "corrected.json")["m1"])[:2] == [(2, 4, "walk"), (6, 7.1, "groom")]


def browsers_of(pid: int) -> list[int]:
    """The processes of a browser below a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:  # it has ended
            continue
        if int(rest.split()[1]) == pid:
            child = int(stat.parent.name)
            found += [*([child] if "chrom" in name else []), *browsers_of(child)]
    return found


def test_ended_by_another_program_it_writes_what_there_is(folder: Path) -> None:
    with running(folder, "--classes", "walk") as (process, address):
        value = {"start": 1, "end": 2, "label": "walk", "status": "kept"}
        change = {"key": "key-1", "video": "m1", "changes": [{"id": "n1", "base": "", "value": value}]}
        body = json.dumps({"edits": [change], "annotator": "Ada"}).encode()
        asked = urllib.request.Request(f"{address}edits", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["results"] == [{"key": "key-1", "ok": True}]
        process.terminate()
        process.wait(timeout=60)
    assert rows(database_of(folder / "corrected.json")["m1"]) == [(1, 2, "walk")]


def test_it_ends_at_once_and_quietly_while_a_page_holds_a_video_open(folder: Path) -> None:
    import socket

    with (folder / "videos" / "m1.mp4").open("ab") as file:
        file.truncate(200_000_000)  # more than sockets buffer
    with running(folder) as (process, address):
        host, path = address.removeprefix("http://").split("/", 1)
        name, port = host.split(":")
        with socket.create_connection((name, int(port))) as held:
            held.sendall(f"GET /{path}media/0 HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-\r\n\r\n".encode())
            assert b"206 Partial Content" in held.recv(200)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        assert process.stdout is not None
        assert process.stdout.read().strip() == "Nothing was edited; nothing was written"


def test_an_output_that_is_there_is_not_written_over(folder: Path, re2tal: Any) -> None:
    (folder / "corrected.json").write_text("mine")
    assert "is there already, and no review has written it" in re2tal(*arguments(folder))
    labels = write_labels(folder / "corrected.json", {"m1": {"annotations": []}})
    assert "would replace --annotations" in re2tal(*arguments(folder, "--annotations", labels))


def test_files_that_are_not_there_are_told(folder: Path, re2tal: Any) -> None:
    assert "no predictions at" in re2tal(*arguments(folder, "--detections", folder / "none.json"))
    assert "annotation file at" in re2tal(*arguments(folder, "--annotations", folder / "none.json"))
    assert "no suggestions at" in re2tal(*arguments(folder, "--first", folder / "none.json"))
    assert "there is no video or folder" in re2tal("review", folder / "nowhere")
    assert not (folder / "corrected.journal.jsonl").exists()


def test_a_port_in_use_is_told_by_the_command(folder: Path, re2tal: Any) -> None:
    from re2tal.report.review import listen

    with listen(0) as taken:
        assert "give another --port" in re2tal(*arguments(folder, "--port", taken.getsockname()[1]))


@pytest.fixture
def not_serving(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The command up to where it would serve; what it would serve with."""
    served: list[Any] = []
    monkeypatch.setattr("re2tal.report.review.serve", lambda page, listening: (served.append(page), listening.close()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return served


def test_links_that_lead_out_of_the_folder_are_not_followed(
    folder: Path, re2tal: Any, not_serving: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(folder / "private.mp4")
    (folder / "videos" / "link.mp4").symlink_to(folder / "private.mp4")
    (folder / "videos" / "inside.mp4").symlink_to(folder / "videos" / "m1.mp4")
    assert re2tal(*arguments(folder)) == 0
    said = capsys.readouterr().out
    assert "Reviewing 2 videos" in said and "1 links, such as" in said and "--allow-links" in said
    assert re2tal(*arguments(folder, "--allow-links")) == 0
    assert "Reviewing 3 videos" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_told(
    folder: Path, re2tal: Any, not_serving: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "videos" / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"")
    assert re2tal(*arguments(folder)) == 0
    said = capsys.readouterr().out
    assert "Reviewing 1 videos" in said and "1 names of files" in said and "rename" in said


def test_copies_are_made_for_browsers_and_used_again(
    folder: Path, re2tal: Any, not_serving: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    black = np.zeros((20, 32, 32, 3), np.uint8)
    write_video(folder / "videos" / "old.avi", black, fps=10, codec="mpeg4")
    (folder / "videos" / "broken.avi").write_bytes(b"no video at all")
    assert re2tal(*arguments(folder, "--convert")) == 0
    said = capsys.readouterr().out
    assert "Converting old" in said and "broken is not converted" in said and "Converting m1" not in said
    (copy,) = (folder / "corrected.playable").iterdir()
    before = copy.stat().st_mtime_ns
    assert re2tal(*arguments(folder, "--convert")) == 0
    assert "Converting" not in capsys.readouterr().out and copy.stat().st_mtime_ns == before


def test_a_browser_that_is_not_there_is_told(
    folder: Path,
    re2tal: Any,
    not_serving: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import webbrowser

    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    monkeypatch.setattr("re2tal.report.review.serve", lambda page, listening: (time.sleep(0.2), listening.close()))
    assert re2tal("review", folder / "videos", "--out", folder / "corrected.json") == 0
    assert "No browser was found" in capsys.readouterr().out
    assert not os.path.exists(folder / "corrected.json")  # noqa: PTH110
