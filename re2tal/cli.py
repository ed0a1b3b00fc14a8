"""The command `re2tal`, and what tools/train.py and tools/test.py run.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import json as json_format
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from re2tal import __version__

if TYPE_CHECKING:
    from re2tal.evaluation import MapResult

__all__ = ["main", "test_main", "train_main"]

app = App(
    name="re2tal",
    help="Train video networks end to end, on long videos, on the memory you have.",
    version=__version__,
    default_parameter=Parameter(negative=""),
)

ConfigPath = Annotated[Path, Parameter(help="Python file that assigns `config`.")]
Seed = Annotated[int | None, Parameter(help="Replaces training.seed.")]
RunId = Annotated[int, Parameter(name=["--id"], help="Number of the run; runs of one id overwrite each other.")]
Resume = Annotated[Path | None, Parameter(help="An epoch_N.pth to go on from.")]
Checkpoint = Annotated[
    Path | None, Parameter(help="Weights to test: ours, imported, or of OpenTAD; by default the best of the run.")
]
NotEval = Annotated[bool, Parameter(name=["--not_eval", "--not-eval"], help="Do not compute the metric.")]
NotDeterministic = Annotated[
    bool,
    Parameter(
        name=["--disable_deterministic", "--disable-deterministic"],
        help="Let cuDNN choose the fastest kernels, whether or not they repeat exactly.",
    ),
]
Options = Annotated[
    list[str] | None,
    Parameter(
        name=["--cfg-options", "--cfg_options"],
        consume_multiple=True,
        help="Settings to replace, as key.sub=value.",
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
    cfg_options: Options = None,
) -> None:
    """Train a detector; alone or under torchrun."""
    from re2tal import experiment
    from re2tal.config import load_config
    from re2tal.training import logging_to, processes

    settings = load_config(config, _with_seed(cfg_options, seed))
    with processes() as peers:
        folder = experiment.find_run(settings, peers=peers, run_id=run_id)
        with logging_to(folder.log, is_main=peers.is_main) as console:
            experiment.train(
                settings,
                peers=peers,
                folder=folder,
                resume=resume,
                evaluate=not not_eval,
                deterministic=not disable_deterministic,
                console=console if peers.is_main else None,
            )


@app.command
def test(
    config: ConfigPath,
    *,
    checkpoint: Checkpoint = None,
    seed: Seed = None,
    run_id: RunId = 0,
    not_eval: NotEval = False,
    cfg_options: Options = None,
) -> None:
    """Detect in the test videos and compute the mAP; alone or under torchrun."""
    from re2tal import experiment
    from re2tal.config import load_config
    from re2tal.training import logging_to, processes

    settings = load_config(config, _with_seed(cfg_options, seed))
    with processes() as peers:
        folder = experiment.find_run(settings, peers=peers, run_id=run_id)
        with logging_to(folder.log, is_main=peers.is_main):
            result = experiment.test(settings, peers=peers, folder=folder, checkpoint=checkpoint, evaluate=not not_eval)
            if result is not None and peers.is_main:
                _print_result(result, title=f"{settings.name}: mAP (%)")


@app.command
def show(config: ConfigPath, *, cfg_options: Options = None) -> None:
    """Print every setting of an experiment and the size of its network, as JSON."""
    from re2tal.config import load_config
    from re2tal.experiment import describe

    print(json_format.dumps(describe(load_config(config, cfg_options or [])), indent=2))


@app.command
def demo(
    *,
    out: Path = Path("exps/demo"),
    seed: int = 42,
    num_train: int = 240,
    num_test: int = 60,
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
    """
    from re2tal import experiment
    from re2tal.config import override
    from re2tal.data.demo import make_demo_set
    from re2tal.presets import demo as demo_config
    from re2tal.training import RunFolder, log, logging_to, processes, tell_counts

    folder = RunFolder(out)
    settings = override(demo_config(data=out / "data", work_dir=out), _with_seed(cfg_options, seed))
    with processes() as peers, logging_to(folder.log) as console:
        log.info("making %d videos in %s", num_train + num_test, out / "data")
        progress = tell_counts("videos", tell=log.info)
        make_demo_set(out / "data", seed=seed, num_train=num_train, num_test=num_test, progress=progress)
        experiment.train(settings, peers=peers, folder=folder, console=console)
        result = experiment.test(settings, peers=peers, folder=folder)
        assert result is not None
        _print_result(result, title="Demo: mAP (%) on unseen videos")
        log.info("weights, detections, metrics and log are in %s", out)


@app.command
def import_weights(
    src: Path,
    dst: Path,
    /,
    *,
    config: Path | None = None,
    allow: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Check weights of another program tensor by tensor and write them under this package's names.

    Known are mmaction2's Video Swin and SlowFast, torchvision's Video Swin, the Re2 weights of both, and checkpoints
    of OpenTAD's detectors, of which the averaged weights are taken if there are any.

    Parameters
    ----------
    src
        A .pth or .safetensors file; nothing in it is executed.
    dst
        A .safetensors file, for backbone.pretrained or, if it holds a detector, --checkpoint.
    config
        The experiment whose backbone or detector it is; without, the closest published network.
    allow
        Names, or patterns like 'features.6.*', that may be missing, unexpected or of another shape.
    overwrite
        Replace dst if it is there.
    json
        Print one line of JSON and nothing else.
    """
    from re2tal import import_weights as importing
    from re2tal.config import load_config

    done = importing.import_weights(
        src, dst, config=None if config is None else load_config(config), allow=allow or [], overwrite=overwrite
    )
    print(json_format.dumps(done.as_json()) if json else done)


@app.command
def check_data(
    config: ConfigPath,
    *,
    decode: Literal["ends", "all", "none"] = "ends",
    jobs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    findings: Annotated[Path | None, Parameter(name=["--list"])] = None,
    missing: Path | None = None,
    json: bool = False,
    cfg_options: Options = None,
) -> None:
    """Tell before a run what is missing, undecodable or inconsistent in its data.

    Ends with status 0 if nothing stops a run, 1 if something does, 2 if the command or the config is wrong.

    Parameters
    ----------
    decode
        The first and last second of every video, everything, or next to nothing.
    jobs
        Videos looked at at a time; by default one per processor core.
    findings
        File to write, with one line of JSON for each finding.
    missing
        File to write, with the id of every video that cannot be used, as data.missing takes it.
    json
        Print one line of JSON and nothing else.
    """
    from re2tal import checking
    from re2tal.config import ConfigError, load_config
    from re2tal.training import counting

    try:
        settings = load_config(config, cfg_options or [])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    with counting("videos") as tell:
        report = checking.check_data(settings, decode=decode, jobs=jobs or os.cpu_count() or 1, tell=tell)
    if findings is not None:
        report.write_findings(findings)
    if missing is not None:
        report.write_missing(missing)
    if json:
        print(json_format.dumps(report.as_json()))
    else:
        checking.print_report(report)
    sys.exit(1 if report.stops_a_run else 0)


@app.command
def evaluate(
    *,
    ground_truth: Path,
    predictions: Path,
    subset: str = "validation",
    tious: str = "0.3,0.4,0.5,0.6,0.7",
    blocked: Path | None = None,
    subset_file: Path | None = None,
    count_other_videos: bool = False,
    as_annotated: bool = False,
    per_class: bool = False,
    json: bool = False,
) -> None:
    """Compute the mAP of a file of predictions.

    ActivityNet's own evaluation code gives the figures of `--count-other-videos --as-annotated`.

    Parameters
    ----------
    ground_truth
        Annotations of ActivityNet's layout.
    predictions
        Predictions of ActivityNet's submission layout.
    subset
        Which videos to evaluate.
    tious
        Temporal IoU thresholds, separated by commas.
    blocked
        JSON list of videos to leave out.
    subset_file
        CSV of video and subset, for annotations that do not tell the subset.
    count_other_videos
        Count predictions for videos outside the subset as false ones.
    as_annotated
        Count annotations that are empty or repeat another one, too.
    per_class
        Show every class.
    json
        Print one line of JSON, fractions instead of percent, and nothing else.
    """
    from re2tal.evaluation import evaluate_files

    result = evaluate_files(
        ground_truth,
        predictions,
        subset=subset,
        tious=_parse_tious(tious),
        blocked=blocked,
        subset_file=subset_file,
        count_other_videos=count_other_videos,
        as_annotated=as_annotated,
    )
    if not json:
        _print_result(result, title="mAP (%)", per_class=per_class)
        return
    line: dict[str, object] = {**result.metrics, "subset": subset, "num_videos": result.num_videos}
    line |= {"num_actions": result.num_actions, "num_predictions": result.num_predictions}
    line["num_ignored_predictions"] = result.num_other_videos + result.num_other_classes
    if per_class:
        line["per_class"] = {name: list(values) for name, values in result.per_class.items()}
    print(json_format.dumps(line))


def _parse_tious(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise ValueError(f"--tious must be numbers in (0, 1] separated by commas, such as 0.3,0.5,0.7, got {text!r}")
    return values


def _with_seed(options: list[str] | None, seed: int | None) -> list[str]:
    return [*(options or []), *([] if seed is None else [f"training.seed={seed}"])]


def _print_result(result: "MapResult", *, title: str, per_class: bool = False) -> None:
    """A table in a terminal, plain text in a pipe."""
    from rich.console import Console

    from re2tal.evaluation import format_table, rich_table

    console = Console()
    if console.is_terminal:
        console.print(rich_table(result, title=title, per_class=per_class))
    else:
        print(title, format_table(result, per_class=per_class), sep="\n")


def main() -> None:
    """The command `re2tal`."""
    _run(app)


def train_main() -> None:
    """tools/train.py"""
    tool = App(name="train.py", version=__version__, default_parameter=app.default_parameter)
    tool.default(train)
    _run(tool)


def test_main() -> None:
    """tools/test.py"""
    tool = App(name="test.py", version=__version__, default_parameter=app.default_parameter)
    tool.default(test)
    _run(tool)


def _run(command: App) -> None:
    """Run a command line; errors that our own checks raise are told in one message, without a traceback."""
    try:
        command(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("interrupted; go on from the newest checkpoint with --resume")
    except ValueError as error:
        if not _is_from_us(error):
            raise
        sys.exit(f"error: {error}")


def _is_from_us(error: ValueError) -> bool:
    if type(error).__module__.startswith("re2tal."):
        return True
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised_in).is_relative_to(Path(__file__).parent)
