"""Which folder a run writes to, goes on in, and is tested from, whatever the number of processes it began with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from re2tal.common.atomic import lock_of_process
from re2tal.common.untrusted import some
from re2tal.config import ExperimentConfig
from re2tal.experiments.finetuning import FinetuneConfig
from re2tal.training import Processes, RunFolder

__all__ = ["RunFolderError", "find_run", "find_trained_run", "held_alone", "own_folder"]


class RunFolderError(ValueError):
    """Which run is meant is not clear, and how to say it."""


def own_folder(config: ExperimentConfig | FinetuneConfig, *, processes: Processes, run_id: int = 0) -> RunFolder:
    """Where a run of this number of processes begins."""
    return RunFolder(config.work_dir / f"gpu{processes.world_size}_id{run_id}")


def find_run(
    config: ExperimentConfig | FinetuneConfig,
    *,
    processes: Processes,
    run_id: int = 0,
    resume: Path | Literal["auto"] | None = None,
) -> RunFolder:
    """The folder of run `run_id` of an experiment; the same on every process.

    With `resume="auto"`, a run that began with another number of processes goes on in its own folder, unless one of
    this number is there, too. Batches hold the same clips however many processes share them.
    """
    own = own_folder(config, processes=processes, run_id=run_id)
    if resume != "auto":
        return own

    def chosen() -> RunFolder:
        begun = {folder: path for folder in _runs(config, run_id) if (path := _newest(folder.whole_states()))}
        if own in begun or not begun:
            return own
        return max(begun, key=lambda folder: begun[folder].stat().st_mtime_ns)

    return processes.from_main(chosen() if processes.is_main else None) or own


@contextmanager
def held_alone(folder: RunFolder, *, processes: Processes) -> Iterator[None]:
    """Keep every other training out of a folder, in which each would replace the checkpoints of the other.

    Raises:
        RunFolderError: another one is at work in it.
    """
    with ExitStack() as stack:
        lock = folder.path / ".lock"
        is_free = processes.from_main(stack.enter_context(lock_of_process(lock)) if processes.is_main else True)
        if not is_free:
            raise RunFolderError(
                f"another training is at work in {folder.path}; wait for its end, or begin another run with --id or "
                "--cfg-options work_dir=FOLDER"
            )
        yield


def find_trained_run(config: ExperimentConfig | FinetuneConfig, *, processes: Processes, run_id: int = 0) -> RunFolder:
    """The folder of run `run_id` whose best weights are tested; the same on every process.

    Raises:
        RunFolderError: runs of several numbers of processes have some, and the newest are not this number's.
    """
    own = own_folder(config, processes=processes, run_id=run_id)
    trained = [folder for folder in _runs(config, run_id) if folder.best.is_file()]
    newest = max(trained, key=lambda folder: folder.best.stat().st_mtime_ns, default=own)
    if len(trained) > 1 and newest != own:
        listed = some(sorted(f"--checkpoint {folder.best}" for folder in trained), length=300)
        raise RunFolderError(
            f"run {run_id} was trained by several numbers of processes, and {newest.best} is the newest; say which one "
            f"to test: {listed}"
        )
    return newest


def _runs(config: ExperimentConfig | FinetuneConfig, run_id: int) -> list[RunFolder]:
    return [RunFolder(path) for path in config.work_dir.glob(f"gpu*_id{run_id}")]


def _newest(paths: list[Path]) -> Path | None:
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
