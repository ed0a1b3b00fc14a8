"""The command itself: what all its parts share, and how errors are told."""

import io
import sys
import traceback
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from re2tal import __version__
from re2tal.common.untrusted import visible_lines

__all__ = ["ConfigPath", "Json", "Options", "app", "parse_tious", "run"]

app = App(
    name="re2tal",
    help="Train video networks end to end, on long videos, on the memory you have.",
    version=__version__,
    default_parameter=Parameter(negative=""),
)

ConfigPath = Annotated[Path, Parameter(help="Python file that assigns `config`.")]
Json = Annotated[bool, Parameter(help="Print one line of JSON and nothing else.")]
Options = Annotated[
    list[str] | None,
    Parameter(
        name=["--cfg-options", "--cfg_options"],
        consume_multiple=True,
        help="Settings to replace, as key.sub=value.",
    ),
]


def parse_tious(text: str) -> tuple[float, ...]:
    """What `--tious` says."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise ValueError(f"--tious must be numbers in (0, 1] separated by commas, such as 0.3,0.5,0.7, got {text!r}")
    return values


def run(command: App) -> None:
    """Run a command line; errors that our own checks raise are told in one message, without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may hold what the terminal's encoding, or any, does not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ValueError as error:
        if not _is_from_us(error):
            raise
        sys.exit(visible_lines(" ".join([f"error: {error}", *getattr(error, "__notes__", ())])))


def _is_from_us(error: ValueError) -> bool:
    if type(error).__module__.startswith("re2tal."):
        return True
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised_in).is_relative_to(Path(__file__).parents[1])
