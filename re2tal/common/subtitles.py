"""Cues of subtitles, as WebVTT (w3.org/TR/webvtt1) and SubRip have them."""

__all__ = ["cue_text", "cue_times"]


def cue_times(start_ms: int, end_ms: int, *, point: str = ".") -> str:
    """`00:00:01.500 --> 00:00:02.000`; SubRip has a comma for the point."""
    return f"{_clock(start_ms, point)} --> {_clock(end_ms, point)}"


def cue_text(text: str) -> str:
    """`text` for WebVTT, without a tag or an arrow in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
