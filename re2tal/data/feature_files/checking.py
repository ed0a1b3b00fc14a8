"""What is wrong with features of others, found before a run instead of by it."""

from collections.abc import Callable, Sequence

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError
from re2tal.data.check import Decode, Finding
from re2tal.data.feature_files.config import FeatureDataConfig
from re2tal.data.feature_files.store import covered_share, length_of, read_part, require_durations
from re2tal.data.features import FeaturesError

__all__ = ["check_features"]

_FEW = 3
"""Features by which those of a short video may last longer or shorter without a word."""


def check_features(
    videos: Sequence[AnnotatedVideo],
    *,
    config: FeatureDataConfig,
    decode: Decode,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, list[Finding]], list[Finding]]:
    """Look at the arrays of all videos.

    Args:
        videos: of the data set.
        config: see there.
        decode: "all" reads every number, too.
        tell: called with how many videos are done, and of how many.

    Returns:
        Findings of each video by its id, and of all together.
    """
    found: dict[str, list[Finding]] = {}
    lengths: dict[str, int] = {}
    for number, video in enumerate(videos, start=1):
        found[video.video_id] = _check(video, config=config, decode=decode, lengths=lengths)
        tell(number, len(videos))
    try:
        require_durations(config, [video for video in videos if video.video_id in lengths], lengths=lengths)
    except FeaturesError as error:
        return found, [Finding(severity="error", what="stride or frame rate", detail=str(error))]
    return found, []


def _check(
    video: AnnotatedVideo, *, config: FeatureDataConfig, decode: Decode, lengths: dict[str, int]
) -> list[Finding]:
    """Findings of one video; its length goes into `lengths`, if it has one."""
    video_id = video.video_id
    try:
        absent = [path for files in config.files if not (path := config.file_of(files, video_id)).is_file()]
        if absent:
            return [Finding(severity="error", what="file absent", detail=f"there is no {absent[0]}", video_id=video_id)]
        lengths[video_id] = length_of(config, video_id)
    except UnsafeNameError as error:
        return [Finding(severity="error", what="file elsewhere", detail=str(error), video_id=video_id)]
    except FeaturesError as error:
        return [Finding(severity="error", what="unusable features", detail=str(error), video_id=video_id)]
    try:
        if decode == "all":
            read_part(config, video_id, 0, lengths[video_id])
    except FeaturesError as error:
        return [Finding(severity="error", what="damaged", detail=str(error), video_id=video_id)]
    rate = config.frame_rate_of(video)
    if rate is None:
        return []
    covered = covered_share(config, video, length=lengths[video_id]) * video.duration_seconds
    apart = abs(covered - video.duration_seconds)
    if apart <= max(config.length_tolerance * video.duration_seconds, _FEW * config.stride / rate):
        return []
    detail = f"its features last {covered:.1f} s, and it lasts {video.duration_seconds:.1f} s"
    return [Finding(severity="warning", what="features of another length", detail=detail, video_id=video_id)]
