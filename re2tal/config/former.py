"""What earlier versions wrote goes on working: modules that moved, settings that are gone."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from re2tal.training import log

__all__ = ["former_names", "without_removed"]

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


_REMOVED = {
    "backbone.cell_mib": "tiles are of backbone.tile_mib",
    "backbone.lanes": "tiles are computed one after the other",
    "data.sampling.validation_overlap": "no validation loss is computed",
}
"""Settings that earlier versions had, and why they decide nothing any more: they are of speed and memory alone."""


def without_removed(values: Any, *, source: Path | str) -> Any:
    """The nested settings of a config that was written as JSON, without those that are gone; the log names them."""
    for key, reason in _REMOVED.items():
        *path, last = key.split(".")
        place = values
        for name in path:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict) and place.pop(last, None) is not None:
            log.info("the config in %s has %s, which is left out: %s", source, key, reason)
    return values
