"""Delay and memory of `re2tal predict --live` over a long stream.

    python benchmarks/live.py [--minutes 60] [--fps 25] [--size 32] [--speed 1] [--device cpu] [--json]

Another process writes a video of moving gradients into a pipe, `--speed` times as fast as it would be shown (0: as fast
as it is taken). The network is small and has random weights, so every window gives as many candidates as the
post-processing keeps, and all of them are followed (`--min-score 0.001`): the worst case. Resident memory of the
command is looked at every second; its growth counts from a third of the stream to the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream
from long_video import frames, write_checkpoint


def send(path: str, *, count: int, size: int, fps: int, speed: float) -> None:
    """Write a stream of MPEG-TS to a pipe."""
    begin = time.monotonic()
    with av.open(path, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt, stream.gop_size, stream.thread_count = "yuv420p", fps, 1
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for number, image in enumerate(frames(count, size=size)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            if speed:
                time.sleep(max(begin + number / fps / speed - time.monotonic(), 0))
        container.mux(stream.encode(None))


def resident_mib(process: int) -> float:
    """Resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def follow(command: list[str], *, sending: list[str]) -> list[tuple[float, float]]:
    """Seconds and resident MiB of the command while it runs and another one sends."""
    begin, seen = time.monotonic(), []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process, subprocess.Popen(sending) as sender:
        while process.poll() is None:
            try:
                seen.append((time.monotonic() - begin, resident_mib(process.pid)))
            except (OSError, IndexError):  # it has just ended
                break
            time.sleep(1.0)
        if process.wait():
            sender.kill()  # it may wait for somebody to read
            raise SystemExit(f"the command failed with status {process.returncode}")
    return seen


def measure(folder: Path, *, minutes: float, size: int, fps: int, speed: float, device: str) -> dict[str, Any]:
    """What came of one stream."""
    checkpoint, pipe, out = folder / "detector.pth", folder / "pipe", folder / "live.jsonl"
    write_checkpoint(checkpoint, size=size)
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "re2tal", "predict", "--live", str(pipe), "--checkpoint", str(checkpoint)]
    command += ["--out", str(out), "--device", device, "--min-score", "0.001", "--timeout", "120", "--json"]
    sending = [sys.executable, __file__, "--send", str(pipe), "--minutes", str(minutes), "--size", str(size)]
    sending += ["--fps", str(fps), "--speed", str(speed)]
    seen = follow(command, sending=sending)
    header, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    summary = lines[-1]
    third, whole = (max(mib for at, mib in seen if at <= share * seen[-1][0]) for share in (1 / 3, 1))
    return {
        "minutes": minutes,
        "frames": summary["num_frames"],
        "windows": summary["num_windows"],
        "detections": summary["num_detections"],
        "unsettled": summary["num_unsettled"],
        "late": summary["num_late"],
        "gaps": summary["num_gaps"],
        "delay_seconds_told": round(header["delay_seconds"], 2),
        "delay_seconds_longest": round(summary["longest_delay_seconds"], 2),
        "seconds": round(seen[-1][0], 1),
        "peak_mib_of_first_third": round(third, 1),
        "peak_mib": round(whole, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--size", type=int, default=32, help="height and width of the video, and of what is seen of it")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = {"size": arguments.size, "fps": arguments.fps, "speed": arguments.speed}
    if arguments.send:
        send(arguments.send, count=round(arguments.minutes * 60 * arguments.fps), **sizes)
        return
    with tempfile.TemporaryDirectory() as folder:
        row = measure(Path(folder), minutes=arguments.minutes, device=arguments.device, **sizes)
    if arguments.json:
        print(json.dumps(row))
        return
    for name, value in row.items():
        print(f"{name:26s} {value}")


if __name__ == "__main__":
    main()
