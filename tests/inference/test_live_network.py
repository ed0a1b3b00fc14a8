"""Streams from the loopback: TCP, HTTP, UDP and RTSP; connections that are lost."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.inference.live_streams import (
    EXACT,
    Rows,
    detections_in,
    free_port,
    in_thread,
    lines_of,
    offline,
    stream_video,
    tcp_server,
)
from tests.inference.rtsp_server import rtsp_camera


@pytest.fixture(autouse=True)
def _nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr("re2tal.inference.live.frames._AHEAD_SECONDS", -1e9)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_video(tmp_path_factory.mktemp("video") / "video.ts", num_frames=131)


@pytest.fixture
def whole(re2tal: Any, checkpoint: Path, video: Path, tmp_path: Path) -> Rows:
    return offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole")


def _follow(
    re2tal: Any, source: str, *arguments: object, checkpoint: Path, out: Path, timeout: float = 1
) -> list[dict[str, Any]]:
    live = ["predict", "--live", source, "--checkpoint", checkpoint, "--out", out, "--timeout", timeout]
    assert re2tal(*live, *EXACT, *arguments) == 0
    return lines_of(out)


@contextmanager
def _http_server(data: bytes, *, tells_length: bool) -> Iterator[str]:
    """Serves `data` once."""
    served = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if served:
                self.send_error(404)
                return
            served.append(True)
            self.send_response(200)
            if tells_length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.ts"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("tells_length", [True, False])
def test_http(re2tal: Any, checkpoint: Path, video: Path, whole: Rows, tmp_path: Path, tells_length: bool) -> None:
    with _http_server(video.read_bytes(), tells_length=tells_length) as address:
        lines = _follow(re2tal, address, checkpoint=checkpoint, out=tmp_path / "live.jsonl")
    assert detections_in(lines) == whole
    ended = "end of the data" if tells_length else "no new data for 1 s (Server returned 404 Not Found)"
    assert lines[-1]["ended"] == ended


def test_udp(re2tal: Any, checkpoint: Path, video: Path, whole: Rows, tmp_path: Path) -> None:
    port = free_port()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not _is_taken(port):
                time.sleep(0.02)
            data = video.read_bytes()
            for start in range(0, len(data), 1316):
                sender.sendto(data[start : start + 1316], ("127.0.0.1", port))
                time.sleep(0.005)

    with in_thread(send):
        lines = _follow(
            re2tal, f"udp://127.0.0.1:{port}", checkpoint=checkpoint, out=tmp_path / "live.jsonl", timeout=3
        )
    assert detections_in(lines) == whole


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_a_camera_is_followed_over_rtsp(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    """Two seconds are lost on the way, later the connection."""
    first = [40 * number for number in range(60)] + [4400 + 40 * number for number in range(60)]
    with rtsp_camera(first, [40 * number for number in range(50)]) as address:
        lines = _follow(re2tal, address, checkpoint=checkpoint, out=tmp_path / "live.jsonl", timeout=2)
    lost, closed = (line for line in lines if line["kind"] == "gap")
    assert lost["reason"] == "no frames in between" and lost["segment"] == pytest.approx([2.4, 4.4])
    assert closed["reason"] == "connection lost (the connection was closed)"
    assert closed["segment"][0] == pytest.approx(6.8) and closed["segment"][1] > 6.8
    assert lines[-1]["num_frames"] == 170 and lines[0]["source"] == address
    found = detections_in(lines)
    assert any(row[1] <= 2.4 for row in found) and any(row[0] >= closed["segment"][1] for row in found)
    assert not any(row[0] < 2.4 < row[1] or row[0] < 4.4 - 1e-3 < row[1] for row in found)


_SENDER = """
import sys, time, av, numpy as np
while True:
    try:
        container = av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"})
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"tune": "zerolatency"}
        container.start_encoding()
        break
    except av.error.ConnectionRefusedError:
        time.sleep(0.1)
for number in range(80):
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
    container.mux(stream.encode(frame))
    time.sleep(0.01)
container.mux(stream.encode(None))
container.close()
"""


def test_a_sender_may_connect_to_us(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    options = ["--input-options", "rtsp_flags=listen", "listen_timeout=30"]
    with subprocess.Popen([sys.executable, "-c", _SENDER, address]) as sender:
        try:
            lines = _follow(re2tal, address, *options, checkpoint=checkpoint, out=tmp_path / "live.jsonl", timeout=6)
        finally:
            sender.kill()
    assert lines[-1]["num_frames"] == 80 and lines[-1]["num_gaps"] == 0 and detections_in(lines)


def test_a_lost_connection_is_made_again(re2tal: Any, checkpoint: Path, video: Path, tmp_path: Path) -> None:
    data = video.read_bytes()
    with tcp_server(data, data) as address:
        lines = _follow(re2tal, f"tcp://{address}", checkpoint=checkpoint, out=tmp_path / "live.jsonl")
    (gap,) = (line for line in lines if line["kind"] == "gap")
    assert gap["reason"] == "connection lost (the connection was closed)"
    assert gap["segment"][0] == pytest.approx(5.24) and lines[-1]["num_frames"] == 262
    found, again = detections_in(lines), gap["segment"][1]
    before = [row for row in found if row[1] <= 5.24 + 1e-6]
    after = [(row[0] - again, row[1] - again, *row[2:]) for row in found if row[0] >= again - 1e-6]
    assert len(before) + len(after) == len(found) and len(before) > 10
    for row, other in zip(before, sorted(after), strict=True):
        assert row[:3] == pytest.approx(other[:3], abs=1e-4)


def test_an_address_that_sends_nothing_is_an_error(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "live.jsonl"
    live = ["predict", "--checkpoint", checkpoint, "--out", out, "--timeout", 1, "--live"]
    told = re2tal(*live, f"tcp://user:secret@127.0.0.1:{free_port()}")
    assert "no frame came within 1 s (Connection refused); check the address" in told and "secret" not in told
    with _http_server(b"no video", tells_length=True) as address:
        assert "cannot be read (Invalid data found when processing input)" in re2tal(*live, address)
    assert not out.exists()
