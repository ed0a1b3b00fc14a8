"""Config files of earlier versions go on working: while one runs, modules also stand under their former names."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["former_names"]

_MOVED = {
    "re2tal.backbones": "re2tal.networks.backbones",
    "re2tal.classifying": "re2tal.experiments.finetuning",
    "re2tal.heads": "re2tal.networks.heads",
    "re2tal.presets": "re2tal.config.presets",
    "re2tal.pyramid": "re2tal.networks.pyramid",
}


@contextmanager
def former_names(path: Path) -> Iterator[None]:
    """Inside, the modules that the file at `path` names as they were once called can be imported like that."""
    named = set(re.findall(r"\bre2tal\.\w+", path.read_text(encoding="utf-8", errors="replace")))
    added: set[str] = set()
    try:
        for former in sorted(named & _MOVED.keys()):
            present = _MOVED[former]
            importlib.import_module(present)
            for name, module in list(sys.modules.items()):
                if name == present or name.startswith(f"{present}."):
                    alias = former + name.removeprefix(present)
                    added.add(alias)
                    sys.modules[alias] = module
        yield
    finally:
        for alias in added:
            del sys.modules[alias]
