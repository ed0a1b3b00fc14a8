"""Which files are taken for videos where a folder is named."""

__all__ = ["VIDEO_SUFFIXES"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".m2ts", ".ts", ".3gp",
    ".ogv", ".asf", ".mxf", ".vob", ".dv", ".h264", ".h265", ".hevc", ".mjpeg", ".y4m",
)  # fmt: skip
"""In lower case; names may have capitals."""
