"""As much of an RTSP server as a camera needs: H.264 in RTP packets within the connection (RFC 2326, RFC 6184)."""

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from tests.inference.live_streams import in_thread
from tests.video.videos import moving_pattern

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
)


@contextmanager
def rtsp_camera(*connections: Sequence[int]) -> Iterator[str]:
    """Serves one connection after the other; gives the address.

    Args:
        connections: of each, when its frames are shown, in milliseconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for times in connections:
                connection, _ = server.accept()
                with connection:
                    _answer(connection)
                    _play(connection, times)

        with in_thread(serve):
            yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"


def _answer(connection: socket.socket) -> None:
    """Until the client wants to see something."""
    requests = connection.makefile("rb")
    while True:
        lines = [line.decode().strip() for line in iter(requests.readline, b"\r\n")]
        assert lines, "the client has gone"
        method, number = lines[0].split()[0], re.search(r"CSeq: (\d+)", "\n".join(lines))
        assert number is not None
        headers = [f"CSeq: {number[1]}", "Session: 1"]
        headers += {
            "OPTIONS": ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"],
            "DESCRIBE": ["Content-Type: application/sdp", f"Content-Length: {len(_SDP)}"],
            "SETUP": ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"],
        }.get(method, [])
        body = _SDP if method == "DESCRIBE" else ""
        connection.sendall(("\r\n".join(["RTSP/1.0 200 OK", *headers, "", body])).encode())
        if method == "PLAY":
            return


def _play(connection: socket.socket, times: Sequence[int]) -> None:
    encoder = cast(VideoCodecContext, av.CodecContext.create("libx264", "w"))
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = 64, 48, "yuv420p", 10
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    encoder.framerate = 25
    sequence = 0
    for number, milliseconds in enumerate(times):
        frame = av.VideoFrame.from_ndarray(moving_pattern(number), format="rgb24")
        (packet,) = encoder.encode(frame)
        units = [unit for unit in re.split(b"\0\0\0?\1", bytes(packet)) if unit]
        for place, unit in enumerate(units):
            marker = 0x80 if place == len(units) - 1 else 0
            header = bytes([0x80, marker | 96]) + sequence.to_bytes(2, "big")
            header += (90 * milliseconds + 12345).to_bytes(4, "big") + b"live"
            connection.sendall(b"$\0" + (len(header) + len(unit)).to_bytes(2, "big") + header + unit)
            sequence += 1
