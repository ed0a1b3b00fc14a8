"""Colours of classes, for programs that draw them."""

__all__ = ["colour"]

# Paul Tol's "muted" and "light" schemes, which people who see red and green alike tell apart.
_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#77aadd",
    "#ee8866", "#bbcc33",
)  # fmt: skip


def colour(number: int) -> str:
    """Of the class of a number, such as #332288; they repeat after a dozen."""
    return _COLOURS[number % len(_COLOURS)]
