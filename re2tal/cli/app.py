"""The command itself: what all its parts share, and how errors are told."""

import io
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, CycloptsPanel, Parameter

from re2tal import __version__
from re2tal.common.atomic import DISK_FULL
from re2tal.common.untrusted import readable, shown, visible

if TYPE_CHECKING:
    from rich.panel import Panel

__all__ = ["ConfigPath", "Device", "Json", "Options", "app", "parse_tious", "run", "tell_results", "to_paste"]


def _told(error: CycloptsError) -> "Panel":
    """What is wrong with a command line, however long its words are."""
    return CycloptsPanel(readable(str(error)))


app = App(
    name="re2tal",
    help="Train video networks end to end, on long videos, on the memory you have.",
    version=__version__,
    default_parameter=Parameter(negative=""),
    error_formatter=_told,
    suppress_keyboard_interrupt=False,  # `run` says that it came
)

ConfigPath = Annotated[Path, Parameter(help="Python file that assigns `config`.")]
Json = Annotated[bool, Parameter(help="Print one line of JSON and nothing else.")]
Device = Annotated[
    Literal["cpu", "cuda"] | None, Parameter(help="Where to compute; by default on CUDA if it is there.")
]
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
        raise ValueError(
            f"--tious must be numbers in (0, 1] separated by commas, such as 0.3,0.5,0.7, got {shown(text)}"
        )
    return values


def to_paste(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(visible(str(path)))


def tell_results(*paths: Path | None) -> None:
    """The last line of a command that has written something; None stands for a file that was not written."""
    if written := [to_paste(path) for path in paths if path is not None]:
        print("Results:", *written)


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
        sys.exit(readable(" ".join([f"error: {error}", *getattr(error, "__notes__", ())])))
    except BrokenPipeError:  # who reads what is printed has read enough, as in `re2tal show CONFIG | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno not in DISK_FULL:
            raise
        # A file of the user's that cannot be opened or written. What is said of a run stands in its log in full.
        sys.exit(readable(f"error: {told_of_file(error)}"))


def told_of_file(error: OSError) -> str:
    """What the system says of a file of the user's, and what to do."""
    if error.errno in DISK_FULL:
        name = "a file of the results" if error.filename is None else error.filename
        return (
            f"{name} cannot be written ({error.strerror}); free some space there, or give another place, and call the "
            "command again: files that were written before are whole"
        )
    return f"{error.filename}: {error.strerror}; check the path, and what you may do there"


def _is_from_us(error: ValueError) -> bool:
    if type(error).__module__.startswith("re2tal."):
        return True
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised_in).is_relative_to(Path(__file__).parents[1])
