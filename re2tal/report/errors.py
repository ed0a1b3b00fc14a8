"""What is wrong with the input of a report."""

__all__ = ["ReportError"]


class ReportError(ValueError):
    """A file or choice that no report can be made from, and why."""
