"""Commands of one experiment: train, test, show, demo."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from re2tal.cli.app import ConfigPath, Device, Options, app, tell_results

if TYPE_CHECKING:
    from rich.console import Console

    from re2tal.config import ExperimentConfig
    from re2tal.experiments.finetuning import FinetuneConfig
    from re2tal.training import Processes, RunFolder

Seed = Annotated[int | None, Parameter(help="Replaces training.seed.")]
RunId = Annotated[int, Parameter(name=["--id"], help="Number of the run; runs of one id overwrite each other.")]
Resume = Annotated[
    Literal["auto"] | Path | None,
    Parameter(
        help="An epoch_N.pth or last.pth to go on from; auto: the newest good one of the run, also of one that began "
        "with another number of processes, from the beginning if there is none."
    ),
]
Checkpoint = Annotated[
    Path | None, Parameter(help="Weights to test: ours, imported, or of OpenTAD; by default the best of the run.")
]
NotEval = Annotated[bool, Parameter(name=["--not_eval", "--not-eval"], help="Do not compute the metric.")]
NotDeterministic = Annotated[
    bool,
    Parameter(
        name=["--disable_deterministic", "--disable-deterministic"],
        help="Take the fastest kernels, whether or not they repeat exactly: one seed no longer gives one run.",
    ),
]


@app.command
def train(
    config: ConfigPath,
    *,
    seed: Seed = None,
    run_id: RunId = 0,
    resume: Resume = None,
    not_eval: NotEval = False,
    disable_deterministic: NotDeterministic = False,
    device: Device = None,
    cfg_options: Options = None,
) -> None:
    """Train a detector; alone or under torchrun."""
    from re2tal.config import load_config
    from re2tal.experiments import experiment
    from re2tal.experiments.run_folders import held_alone

    settings = load_config(config, with_seed(cfg_options, seed))
    with (
        run_of(settings, run_id=run_id, device=device, resume=resume) as (processes, folder, console),
        held_alone(folder, processes=processes),
    ):
        experiment.train(
            settings,
            processes=processes,
            folder=folder,
            resume=resume,
            evaluate=not not_eval,
            deterministic=not disable_deterministic,
            console=console,
        )
        if processes.is_main:
            tell_results(folder.best if folder.best.is_file() else None, folder.path)


@app.command
def test(
    config: ConfigPath,
    *,
    checkpoint: Checkpoint = None,
    seed: Seed = None,
    run_id: RunId = 0,
    not_eval: NotEval = False,
    device: Device = None,
    cfg_options: Options = None,
) -> None:
    """Detect in the test videos and compute the mAP; alone or under torchrun."""
    from re2tal.config import load_config
    from re2tal.evaluation import print_result
    from re2tal.experiments import experiment

    settings = load_config(config, with_seed(cfg_options, seed))
    with run_of(settings, run_id=run_id, device=device, is_tested=checkpoint is None) as (processes, folder, _):
        result = experiment.test(
            settings, processes=processes, folder=folder, checkpoint=checkpoint, evaluate=not not_eval
        )
        if not processes.is_main:
            return
        if result is not None:
            print_result(result, title=f"{settings.name}: mAP (%)")
        tell_results(folder.path / "detections.json", None if result is None else folder.path / "metrics.json")


@app.command
def show(config: ConfigPath, *, cfg_options: Options = None) -> None:
    """Print every setting of an experiment and the size of its network, as JSON."""
    from re2tal.config import load_config
    from re2tal.config.building import describe

    print(json.dumps(describe(load_config(config, cfg_options or [])), indent=2))


@app.command
def demo(
    *,
    out: Path = Path("exps/demo"),
    seed: int = 42,
    num_train: int = 240,
    num_test: int = 60,
    num_negatives: int = 0,
    resume: Resume = None,
    device: Device = None,
    cfg_options: Options = None,
) -> None:
    """Make videos, train a reversible detector on them from pixels, test it, and print the mAP.

    Parameters
    ----------
    out
        Folder for the videos, the weights and the results.
    seed
        Of the videos and of the training.
    num_train
        Videos to train on.
    num_test
        Videos to test on.
    num_negatives
        Videos beside those to train on that show no action but what resembles one, with their share to test on. They
        are trained on as such, and false alarms per hour are printed.
    """
    from re2tal.cli.reporting import report_of_run
    from re2tal.config import override
    from re2tal.config.presets import demo as demo_config
    from re2tal.data.demo import make_demo_set
    from re2tal.evaluation import print_result
    from re2tal.experiments import experiment
    from re2tal.experiments.run_folders import held_alone
    from re2tal.training import RunFolder, distributed_processes, log, logging_to, tell_counts

    folder = RunFolder(out)
    if num_negatives:
        cfg_options = [f"data.negative_share={num_negatives / (num_negatives + num_train)}", *(cfg_options or [])]
    settings = override(demo_config(data=out / "data", work_dir=out), with_seed(cfg_options, seed))
    with (
        distributed_processes(device) as processes,
        logging_to(folder.log) as console,
        held_alone(folder, processes=processes),
    ):
        log.info("making videos in %s", out / "data")
        make_demo_set(
            out / "data",
            seed=seed,
            num_train=num_train,
            num_test=num_test,
            num_negatives=num_negatives,
            progress=tell_counts("videos", tell=log.info),
        )
        experiment.train(settings, processes=processes, folder=folder, resume=resume, console=console)
        result = experiment.test(settings, processes=processes, folder=folder)
        assert result is not None
        print_result(result, title="Demo: mAP (%) on unseen videos")
        log.info("open %s", page := report_of_run(out).path)
        tell_results(page, folder.best, out)


@contextmanager
def run_of(
    settings: "ExperimentConfig | FinetuneConfig",
    *,
    run_id: int,
    device: Device = None,
    resume: "Literal['auto'] | Path | None" = None,
    is_tested: bool = False,
) -> "Iterator[tuple[Processes, RunFolder, Console | None]]":
    """The processes of a run, its folder, to whose log is written inside, and a terminal's console if there is one.

    Args:
        settings: of the experiment.
        run_id: of the run.
        device: to compute on.
        resume: what the run goes on from.
        is_tested: the run is there, and its best weights are to be used.
    """
    from re2tal.experiments.run_folders import find_run, find_trained_run, own_folder
    from re2tal.training import distributed_processes, log, logging_to

    with distributed_processes(device) as processes:
        if is_tested:
            folder = find_trained_run(settings, processes=processes, run_id=run_id)
        else:
            folder = find_run(settings, processes=processes, run_id=run_id, resume=resume)
        with logging_to(folder.log, is_main=processes.is_main) as console:
            if folder != own_folder(settings, processes=processes, run_id=run_id) and processes.is_main:
                log.warning(
                    "run %d began with another number of processes, and its folder is %s; --id begins another run",
                    run_id,
                    folder.path,
                )
            yield processes, folder, console if processes.is_main else None


def with_seed(options: list[str] | None, seed: int | None) -> list[str]:
    return [*(options or []), *([] if seed is None else [f"training.seed={seed}"])]
