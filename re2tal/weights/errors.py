"""The error that everything about files of weights raises."""

__all__ = ["WeightsError"]


class WeightsError(ValueError):
    """A file of weights that cannot be used, and why."""
