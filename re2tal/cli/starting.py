"""What `re2tal init --start-from` does: a config that goes on from a trained detector."""

import json as json_format
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from re2tal.labels import Choices, DataSet, Measures

__all__ = ["StartCall", "write_started_config"]


@dataclass(frozen=True)
class StartCall:
    """What is asked of `re2tal init` beside the data."""

    checkpoint: Path
    rename: list[str] = field(kw_only=True)
    """old=new, as given."""
    folder: Path = field(kw_only=True)
    memory_mib: int = field(kw_only=True)
    json: bool = field(kw_only=True)


def write_started_config(call: StartCall, *, data: "DataSet", measures: "Measures", fresh: "Choices") -> None:
    """Write `config.py` and say what it is."""
    from re2tal.experiments.started_config import started_config
    from re2tal.labels import write_config

    path = call.folder / "config.py"
    started = started_config(
        call.checkpoint,
        data,
        measures,
        fresh,
        name=call.folder.resolve().name or "own_data",
        folder=call.folder,
        renamed=_renamed(call.rename),
        memory_mib=call.memory_mib,
    )
    write_config(started.text, path)
    epochs, changes = started.config.training.epochs, started.changes
    if call.json:
        classes = {"kept": changes.kept, "added": changes.added, "removed": changes.removed}
        line = {"config": str(path), "start_from": str(call.checkpoint), "epochs": epochs, **classes}
        print(json_format.dumps(line | {"notes": started.notes}))
        return
    print(f"Wrote {path}: starts from {call.checkpoint}, {epochs} epochs (a fresh network: about {fresh.epochs}).")
    print(f"Classes: {changes}")
    for note in started.notes:
        print(f"  {note}")
    if changes.removed and changes.added:
        print("  If a class was only renamed, say so: --rename OLD=NEW keeps what the network knows of it.")
    print(f"Next:\n  re2tal check-data {path}\n  re2tal train {path}\n  re2tal test {path}")


def _renamed(pairs: list[str]) -> dict[str, str]:
    from re2tal.labels import SourceError

    found: dict[str, str] = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not (sign and old and new) or old in found:
            raise SourceError(f"--rename takes OLD=NEW, such as walk=walking, each old name once, got {pair!r}")
        found[old] = new
    return found
