"""Streams for tests: what sends them, and what is found in them live and offline."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from tests.video.videos import make_video

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
EXACT = ["--min-score", 0.011, "--horizon", 60, "--lookback", 2]
"""At which nothing of the tiny detector is late."""

Rows = list[tuple[float, float, float, str]]


def stream_video(path: Path, *, num_frames: int, **options: Any) -> Path:
    """25 frames per second, a key frame every 0.4 s."""
    container_options = FRAGMENTED if path.suffix == ".mp4" else None
    return make_video(path, num_frames=num_frames, container_options=container_options, **options)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line is whole."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def detections_in(lines: Sequence[dict[str, Any]]) -> Rows:
    """Sorted."""
    found = [line for line in lines if line["kind"] == "detection"]
    return sorted((*line["segment"], line["score"], line["label"]) for line in found)


def offline(re2tal: Any, video: Path, *, checkpoint: Path, out: Path, options: Sequence[object] = ()) -> Rows:
    """What `re2tal predict` finds in the whole file, one window at a time, with the score of `EXACT`."""
    arguments = ["predict", video, "--checkpoint", checkpoint, "--out", out, "--min-score", 0.011]
    assert re2tal(*arguments, "--cfg-options", "training.batch_size=1", *options) == 0
    (rows,) = json.loads((out / "detections.json").read_text())["results"].values()
    return sorted((*row["segment"], row["score"], row["label"]) for row in rows)


@contextmanager
def in_thread(work: Any, *arguments: Any) -> Iterator[None]:
    """Something that goes on meanwhile and must come to its end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work(*arguments)
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=30)
    assert not thread.is_alive() and not failed, failed


def grow(path: Path, data: bytes, *, chunks: int = 12) -> None:
    """Append `data` to a file, piece by piece."""
    size = -(-len(data) // chunks)
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            time.sleep(0.05)


@contextmanager
def tcp_server(*connections: bytes) -> Iterator[str]:
    """Serves one connection after the other, each with its bytes, and closes it; gives its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for data in connections:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(data)

        with in_thread(serve):
            yield f"127.0.0.1:{server.getsockname()[1]}"


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
