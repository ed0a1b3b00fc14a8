"""Train video networks end to end, on long videos, on the memory you have."""

__version__ = "0.1.0"
