"""Write docs/commands.md and docs/settings.md: every command and every setting, as the code documents them.

python tools/write_reference.py [folder]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from re2tal.cli import app
from re2tal.common.extension import OneOf
from re2tal.common.settings import Settings
from re2tal.config import ExperimentConfig

NOTE = "<!-- Written by tools/write_reference.py (make docs); change the code that it comes from. -->\n\n"


def commands() -> str:
    """Every command, as its `--help` tells it."""
    text = app.generate_docs(output_format="markdown")
    # What follows lists the commands once more, with what they do.
    text = re.sub(r"^## Table of Contents\n.*?(?=^\*\*)", "", text, flags=re.MULTILINE | re.DOTALL)
    about = "For anyone who types `re2tal`, this page lists every command with its options, as `--help` shows them."
    text = re.sub(r"(?<=^# re2tal\n)", f"\n{about}\n", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^ {5,}", "    ", text, flags=re.MULTILINE)  # help texts go on as far to the right as their code
    return NOTE + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def settings() -> str:
    """Every setting of a config, part by part, in the order in which a config has them."""
    parts = [
        "# Settings",
        "For anyone who writes or changes a config, this page lists every setting with its type and default, as the "
        "code documents it.",
        "A config file assigns `config = ExperimentConfig(...)`, or takes one of `re2tal.config.presets` and varies it."
        " On the command line a setting is `--cfg-options part.setting=value`. `re2tal show CONFIG` prints those of a "
        "config, `re2tal explain CONFIG` those of time in seconds, and [start here]"
        "(README.md#what-the-settings-mean-in-seconds) says what these mean.",
    ]
    for model, where in models():
        lines = ["| setting | type | default | |", "|---|---|---|---|"]
        lines += [row(name, field) for name, field in model.model_fields.items()]
        summary = (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        parts += [f"## {model.__name__}", f"`{where}`: {' '.join(summary.split())}", "\n".join(lines)]
    return NOTE + "\n\n".join(parts) + "\n"


def models() -> Iterator[tuple[type[Settings], str]]:
    """Every class of settings once, with where it stands in a config."""
    seen: set[type[Settings]] = set()
    waiting: list[tuple[type[Settings], str]] = [(ExperimentConfig, "config")]
    while waiting:
        model, where = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield model, where
        found = [
            (part, f"{where}.{name}" if where != "config" else name)
            for name, field in model.model_fields.items()
            for part in parts_of(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        ]
        waiting = [*found, *waiting] if model is not ExperimentConfig else found


def parts_of(annotation: Any) -> list[type[Settings]]:
    """The classes of settings in a type; of one that is open to extension, those of the package."""
    if get_origin(annotation) is Annotated:
        built_in = [kind for mark in annotation.__metadata__ if isinstance(mark, OneOf) for kind in mark.built_in]
        if any(isinstance(mark, OneOf) for mark in annotation.__metadata__):
            return built_in
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [part for inner in get_args(annotation) for part in parts_of(inner)]


def row(name: str, field: FieldInfo) -> str:
    """One line of a table."""
    annotation = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
    about = " ".join((field.description or "").split())
    return f"| `{name}` | {escape(type_name(annotation))} | {escape(default)} | {escape(about)} |"


def shown(value: Any) -> str:
    """A default; of a part, its class."""
    return f"`{type(value).__name__}()`" if isinstance(value, Settings) else f"`{value!r}`"


def type_name(annotation: Any) -> str:
    """As one would write it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        open_to = next((mark.built_in for mark in annotation.__metadata__ if isinstance(mark, OneOf)), None)
        if open_to is not None:
            return " or ".join([*(kind.__name__ for kind in open_to), f"your own {inner[0].__name__}"])
        return type_name(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(type_name(part) for part in inner)
    if inner and origin is not None:
        if str(annotation).startswith("typing.Literal"):
            return ", ".join(f"`{value!r}`" for value in inner)
        return f"{origin.__name__}[{', '.join('...' if part is ... else type_name(part) for part in inner)}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def escape(text: str) -> str:
    """For a cell of a table."""
    return text.replace("|", "\\|")


REFERENCE = {"commands.md": commands, "settings.md": settings}


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, write in REFERENCE.items():
        (folder / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
