"""What a run that is resumed may not change, and what is told of all else that it does change."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, brief, parse_json, shown, some
from re2tal.config import ExperimentConfig
from re2tal.experiments.finetuning import FinetuneConfig
from re2tal.training import CheckpointError, log, read_checkpoint

__all__ = ["compare_with_resumed"]

_OF_THE_PLACE = {"name", "work_dir"}
_MOST_TOLD = 1000


def compare_with_resumed(
    checkpoint: Path, config: ExperimentConfig | FinetuneConfig, *, class_names: Sequence[str]
) -> None:
    """Compare a whole state with the run that is to go on from it, and log the settings that are others now.

    Raises:
        CheckpointError: it is of other classes, whose weights would count for these.
    """
    content = read_checkpoint(checkpoint, mmap=True)
    known = content.get("class_names")
    if isinstance(known, list) and known != list(class_names):
        raise CheckpointError(
            f"{checkpoint} is of a run with the classes {some(map(str, known))} ({len(known)}), the data has "
            f"{some(class_names)} ({len(class_names)}); begin another run with training.start_from={checkpoint}, which "
            "takes over what it knows of the classes that both have"
        )
    try:
        before = parse_json(content.get("config") or "{}")
    except JsonError:
        return
    changes = list(_changes(before, config.model_dump(mode="json")))
    if before and changes:
        log.warning(
            "settings that differ from those of %s: %s", checkpoint, brief("; ".join(changes), length=_MOST_TOLD)
        )


def _changes(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Settings that both have and that differ, by their path."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        if before != now:
            yield f"{path} {shown(before)} -> {shown(now)}"
        return
    for name in now:
        if name in before and (path or name not in _OF_THE_PLACE):
            yield from _changes(before[name], now[name], f"{path}.{name}" if path else name)
