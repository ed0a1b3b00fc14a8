"""What stops a review before it begins."""

__all__ = ["ReviewError"]


class ReviewError(ValueError):
    """A file, folder or choice that no review can work with, and why."""
