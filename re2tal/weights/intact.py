"""Whether a file of `torch.save` holds what was written: it is a zip archive, which carries a CRC-32 of every entry."""

import zipfile
from pathlib import Path

from re2tal.weights.errors import WeightsError

__all__ = ["require_intact"]


def require_intact(path: Path) -> None:
    """Read all of `path` and compare the checksums, which torch itself does not do.

    Raises:
        WeightsError: it was cut off or changed, or is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged archive makes the reader fail in any way
        raise WeightsError(
            f"{path} is damaged ({error}); it was cut off or changed: take another checkpoint"
        ) from error
    if damaged is not None:
        raise WeightsError(
            f"{path} is damaged: {damaged} in it does not have the checksum that it was written with; take another "
            "checkpoint"
        )
