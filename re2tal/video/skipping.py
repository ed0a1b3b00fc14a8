"""Which packets the decoder need not see: those of frames that nobody wants and no other frame is predicted from.

H.264 and HEVC say in the first byte of every slice whether its frame is referenced, and their decoders keep nothing of
one that is not, so that all other frames are the same bit for bit without it. FFmpeg's own `skip_frame` is not used:
while it is on, damage of frames that are referenced is passed over as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

__all__ = ["PacketHeaders", "headers_of"]

_START_CODE = b"\0\0\1"
_HEVC_SPS = b"\x42\x01"

# What may stand beside slices without meaning anything to later frames: delimiters, messages about the frame, filler.
_H264_BESIDES = {6, 9, 12}
_HEVC_BESIDES = {35, 38, 39, 40}


@dataclass(frozen=True, kw_only=True)
class PacketHeaders:
    """How the packets of a stream are read."""

    codec: Literal["h264", "hevc"]
    length_bytes: int
    """Of the length before every unit; 0 where start codes divide them."""

    def is_unreferenced(self, packet: "Packet[VideoStream]") -> bool:
        """Whether no frame is predicted from this one, for certain; anything unusual, such as damage, is not."""
        content = bytes(packet)
        units = list(self._units(content))
        if not all(units):
            return False
        kind = _h264_kind if self.codec == "h264" else _hevc_kind
        kinds = [kind(unit) for unit in units]
        if "other" in kinds or "unreferenced slice" not in kinds:
            return False
        first = units[kinds.index("unreferenced slice")]
        # Damage can look like such a slice, so the frame has to begin with it: in H.264 as a B-frame, which nearly all
        # of them are (macroblock 0, then slice type 1 or 6, in Exp-Golomb codes).
        if self.codec == "h264":
            return first[1:2] != b"" and (first[1] & 0xFC == 0x9C or first[1] & 0xF0 == 0xA0)
        return first[2:3] != b"" and first[2] >= 0x80

    def _units(self, content: bytes) -> Iterator[bytes]:
        """The first bytes of each unit; an empty one where they cannot be told apart."""
        if self.length_bytes == 0:
            parts = content.split(_START_CODE)
            if parts[0].strip(b"\0"):
                yield b""
            yield from (part[:3] for part in parts[1:])
            return
        place = 0
        while place < len(content):
            begin = place + self.length_bytes
            place = begin + int.from_bytes(content[place:begin])
            yield content[begin : min(begin + 3, place)] if place <= len(content) else b""


def headers_of(context: VideoCodecContext) -> PacketHeaders | None:
    """How the packets of a stream are read; None where unreferenced frames cannot be known."""
    parameters = context.extradata or b""
    has_lengths = parameters[:1] == b"\1"  # an "avcC" or "hvcC" box; start codes otherwise
    match context.name:
        case "h264" if len(parameters) > 4:
            return PacketHeaders(codec="h264", length_bytes=(parameters[4] & 3) + 1 if has_lengths else 0)
        case "hevc" if len(parameters) > 21 and _has_one_temporal_layer(parameters):
            return PacketHeaders(codec="hevc", length_bytes=(parameters[21] & 3) + 1 if has_lengths else 0)
    return None


def _h264_kind(unit: bytes) -> Literal["unreferenced slice", "besides", "other"]:
    """H.264, 7.3.1 and table 7-1."""
    if unit[0] in _H264_BESIDES:
        return "besides"
    return "unreferenced slice" if unit[0] == 1 else "other"


def _hevc_kind(unit: bytes) -> Literal["unreferenced slice", "besides", "other"]:
    """H.265, 7.3.1.2 and table 7-1: of layer 0 and its first temporal layer."""
    kind = unit[0] >> 1
    if kind in _HEVC_BESIDES:
        return "besides"
    return "unreferenced slice" if unit[0] in (0, 4, 8, 12, 16) and unit[1:2] == b"\1" else "other"


def _has_one_temporal_layer(parameters: bytes) -> bool:
    """Whether all sequence parameter sets of HEVC say so (H.265, 7.3.2.2).

    With several layers, the frames that count as unreferenced are so within their own layer only.
    """
    layers = [part[0] >> 1 & 7 for part in parameters.split(_HEVC_SPS)[1:] if part]
    return bool(layers) and not any(layers)
