"""Which files are taken for videos where a folder is named."""

__all__ = ["SOUND_SUFFIXES", "VIDEO_SUFFIXES"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".m2ts", ".ts", ".3gp",
    ".ogv", ".asf", ".mxf", ".vob", ".dv", ".h264", ".h265", ".hevc", ".mjpeg", ".y4m", ".gif",
)  # fmt: skip
"""In lower case; names may have capitals."""

SOUND_SUFFIXES = (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma", ".aif", ".aiff")
"""Of sound that programs for annotation keep beside a video, under its name."""
