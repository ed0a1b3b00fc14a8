"""Proves and measures the package on a device, within minutes: `re2tal check-device`."""

from re2tal.experiments.device_check.runner import DeviceCheckError, check_device
from re2tal.experiments.device_check.sizes import ON_CPU, Sizes, sizes_for
from re2tal.experiments.device_check.verdict import has_passed, tables_of, verdict_of

__all__ = [
    "ON_CPU",
    "DeviceCheckError",
    "Sizes",
    "check_device",
    "has_passed",
    "sizes_for",
    "tables_of",
    "verdict_of",
]
