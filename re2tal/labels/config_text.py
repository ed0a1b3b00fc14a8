"""The settings of a run as a Python file with the reasons beside them: `templates/config.py.jinja`, filled in."""

import re
from functools import partial
from pathlib import Path
from textwrap import fill

from jinja2 import Environment, PackageLoader, StrictUndefined

from re2tal.common.atomic import atomic_text
from re2tal.labels.choices import MOST_NEGATIVES, STEPS_IN_SHORT_ACTIONS, Choices
from re2tal.labels.measure import DataSet, Measures

__all__ = ["config_text", "write_config"]

_WIDTH = 110


def config_text(
    data: DataSet, measures: Measures, choices: Choices, *, name: str, folder: Path, pretrained: Path | None
) -> str:
    """The whole file.

    Args:
        data: annotations and videos.
        measures: what the settings were chosen from.
        choices: the settings.
        name: of the experiment.
        folder: that the file will lie in.
        pretrained: weights that the large backbone starts from.
    """
    environment = Environment(
        loader=PackageLoader("re2tal.labels"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "comment": partial(_filled, indent="# "),
        "fill": partial(_filled, between="\n\n"),
        "path": partial(_path, folder=folder),
        "reach": lambda level: f"up to {_seconds(choices.reach_seconds(level))}",
        "repr": repr,
        "seconds": _seconds,
    }
    negatives = round(measures.num_train * choices.negative_share / (1 - choices.negative_share))
    return environment.get_template("config.py.jinja").render(
        data=data,
        measures=measures,
        choices=choices,
        name=name.replace("\\", "/").replace('"', "'"),
        experiment_name=name,
        pretrained=None if pretrained is None else f"Path({pretrained.as_posix()!r})",
        is_small=choices.size == "small",
        is_large=choices.size == "large",
        steps_in_short_actions=measures.short / choices.seconds_per_step,
        enough_steps=STEPS_IN_SHORT_ACTIONS / 2,
        num_negatives=negatives,
        train_steps=choices.epochs * ((measures.num_train + negatives) // choices.batch_size),
        evaluate_every=max(choices.epochs // 4, 1),
        most_negatives=MOST_NEGATIVES,
    )


def write_config(text: str, path: Path) -> None:
    """Whole or not at all."""
    with atomic_text(path) as file:
        file.write(text)


def _filled(text: str, *, indent: str = "", between: str = "\n") -> str:
    """Paragraphs, which blank lines separate, broken between words anew."""
    paragraphs = filter(None, (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)))
    return (
        between.join(
            fill(paragraph, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=not indent)
            for paragraph in paragraphs
        )
        + "\n"
    )


def _path(path: Path, *, folder: Path) -> str:
    """Below the config's folder as seen from there, so that both can be moved; else absolute."""
    path, folder = path.resolve(), folder.resolve()
    if path.is_relative_to(folder):
        return f"HERE / {path.relative_to(folder).as_posix()!r}"
    return f"Path({path.as_posix()!r})"


def _seconds(seconds: float) -> str:
    """`0.16 s`, `12.3 s`, `2:05 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"
