"""Settings as Python code, as a person would write them in a config file."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from re2tal.common.settings import Settings
from re2tal.common.untrusted import shown
from re2tal.config.experiment import ConfigError

__all__ = ["SettingsWriter"]

_WIDTH = 90


class SettingsWriter:
    """Writes settings that differ from the defaults, and remembers where their classes are imported from.

    Args:
        folder: that the file will lie in; paths below it are written as seen from there, from `HERE`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._classes: dict[str, set[str]] = {}

    def code(self, value: Any, *, depth: int = 0) -> str:
        """An expression, whose further lines are indented `depth` times.

        Raises:
            ConfigError: the value is none that a config file could hold.
        """
        match value:
            case Settings():
                return self._call(value, depth=depth)
            case Path() if value.is_absolute() and value.is_relative_to(self._folder):
                return f"HERE / {value.relative_to(self._folder).as_posix()!r}"
            case Path():
                return f"Path({value.as_posix()!r})"
            case tuple():
                items = [self.code(item, depth=depth) for item in value]
                return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
            case Mapping():
                return f"{{{', '.join(f'{key!r}: {self.code(item, depth=depth)}' for key, item in value.items())}}}"
            case None | str() | int() | float():
                return repr(value)
            case _:
                raise ConfigError(f"the setting {shown(value)} cannot be written as code; write the config by hand")

    def _call(self, value: Settings, *, depth: int) -> str:
        kind = type(value)
        self._classes.setdefault(_home_of(kind), set()).add(kind.__name__)
        given = {
            name: self.code(getattr(value, name), depth=depth + 1)
            for name, field in kind.model_fields.items()
            if field.is_required() or getattr(value, name) != field.get_default(call_default_factory=True)
        }
        flat = f"{kind.__name__}({', '.join(f'{name}={code}' for name, code in given.items())})"
        if not given or (depth and "\n" not in flat and len(flat) + 4 * depth < _WIDTH):
            return flat
        lines = "".join(f"{'    ' * (depth + 1)}{name}={code},\n" for name, code in given.items())
        return f"{kind.__name__}(\n{lines}{'    ' * depth})"

    def imports(self, more: Mapping[str, set[str]]) -> str:
        """Lines that import all classes written so far, and others."""
        homes = {home: self._classes.get(home, set()) | more.get(home, set()) for home in {*self._classes, *more}}
        return "\n".join(f"from {home} import {', '.join(sorted(homes[home]))}" for home in sorted(homes))


def _home_of(kind: type) -> str:
    """The shortest name of a package that offers the class."""
    parts = kind.__module__.split(".") if kind.__module__.startswith("re2tal.") else []
    for end in range(2, len(parts) + 1):
        module = importlib.import_module(".".join(parts[:end]))
        if getattr(module, kind.__name__, None) is kind:
            return module.__name__
    raise ConfigError(f"{kind.__name__} is no class that a package offers; write the config by hand")
