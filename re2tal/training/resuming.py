"""Which file of a run folder a run goes on from, and what becomes of those that it leaves behind."""

from pathlib import Path

from re2tal.training.checkpoint import CheckpointError, RunFolder, read_checkpoint
from re2tal.training.progress import log
from re2tal.training.state import position_in
from re2tal.weights import WeightsError, require_intact

__all__ = ["newest_good", "tidy"]


def newest_good(folder: RunFolder) -> Path | None:
    """The file with the most steps that is as it was written; None if there is no file at all.

    Files that are cut off, changed or of other programs are named in the log and passed over.

    Raises:
        CheckpointError: none of the files is good.
    """
    problems = []
    found: list[tuple[tuple[int, int], Path]] = []
    for path in folder.whole_states():
        try:
            found.append((_position_of(path), path))
        except (WeightsError, OSError) as error:
            problems.append(_told(path, error))
    for _, path in sorted(found, reverse=True):
        try:
            require_intact(path)
        except WeightsError as error:
            problems.append(_told(path, error))
        else:
            return path
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems[:5])
        raise CheckpointError(
            f"no checkpoint in {folder.checkpoints} can be resumed from; remove them, or train without --resume to "
            f"begin anew:{listed}"
        )
    return None


def _told(path: Path, error: Exception) -> str:
    """Why a file is passed over, told and returned; the system's errors need not name it."""
    problem = str(error) if isinstance(error, WeightsError) else f"{path} cannot be read ({error})"
    log.warning("passed over: %s", problem)
    return problem


def tidy(folder: RunFolder, *, position: tuple[int, int]) -> None:
    """Leave no file in `folder` that a run which goes on from `position` could be taken for the writer of.

    What a killed process had begun to write is removed. Damaged files and whole states of later steps, of an earlier
    run in the same folder, get `.before` behind their names: nothing resumes from them, and nobody has lost them.
    """
    for unfinished in folder.checkpoints.glob(".*.tmp"):
        unfinished.unlink()
    for path in folder.whole_states():
        try:
            is_later = _position_of(path) > position
        except (WeightsError, OSError):
            is_later = True
        if is_later:
            aside = path.with_name(f"{path.name}.before")
            path.replace(aside)
            log.info("%s is of a later step than this run goes on from, or damaged: it is now %s", path, aside.name)


def _position_of(path: Path) -> tuple[int, int]:
    content = read_checkpoint(path, mmap=True)
    try:
        return position_in(content)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not say how far its run was ({error}); take another checkpoint") from error
