"""A trained detector on a stream: frames as they come, windows, detections as soon as they are final."""

from re2tal.inference.live.output import LiveFile
from re2tal.inference.live.prediction import LiveSettings, predict_live
from re2tal.inference.live.signals import stopping_by_signals
from re2tal.inference.live.source import live_source

__all__ = [
    "LiveFile",
    "LiveSettings",
    "live_source",
    "predict_live",
    "stopping_by_signals",
]
