"""The command `re2tal`, and what tools/train.py and tools/test.py run.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

from collections.abc import Callable

from cyclopts import App

from re2tal import __version__
from re2tal.cli import (  # noqa: F401  # they add their commands to `app`
    checking_device,
    explaining,
    exporting,
    figures,
    files,
    finetuning,
    judging,
    own_data,
    planning,
    predicting,
    pretraining,
    reporting,
    reviewing,
    rewiring,
    runs,
    suggesting,
)
from re2tal.cli.app import app, run

__all__ = ["app", "main", "test_main", "train_main"]


def main() -> None:
    """The command `re2tal`."""
    run(app)


def train_main() -> None:
    """tools/train.py"""
    _run_tool("train.py", runs.train)


def test_main() -> None:
    """tools/test.py"""
    _run_tool("test.py", runs.test)


def _run_tool(name: str, command: Callable[..., None]) -> None:
    """One command as a program of its own."""
    tool = App(
        name=name,
        version=__version__,
        default_parameter=app.default_parameter,
        error_formatter=app.error_formatter,
        suppress_keyboard_interrupt=False,
    )
    tool.default(command)
    run(tool)
