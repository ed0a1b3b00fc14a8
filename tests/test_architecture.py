"""The architecture: who may import whom, and how large a file may be. `docs/architecture.md` says why."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "re2tal"

# What each part may import of re2tal. Data flows down this table, imports point up.
MAY_IMPORT: dict[str, set[str]] = {
    "common": set(),
    "reversible": set(),
    "video": {"common"},
    "data": {"common", "video"},
    "labels": {"common", "data", "video"},
    "networks": {"common", "reversible"},
    "detections": {"common"},
    "evaluation": {"common"},
    "weights": {"common", "reversible"},
    "report": {"common", "evaluation", "video", "weights"},
    "training": {"common", "reversible", "weights"},
    "config": {"common", "data", "detections", "evaluation", "networks", "training", "video"},
    "inference": {"common", "config", "data", "detections", "networks", "training", "video", "weights"},
}
SEE_EVERYTHING = {"experiments", "cli", "__init__", "__main__"}
EXTERNAL_OF_REVERSIBLE = {"torch"}


def part_of(path: Path) -> str:
    """The first part of a file's place in the package: "heads" for heads/points.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[tuple[str, ...]]:
    """Absolute names that a file imports, as tuples of their parts, wherever in the file."""
    here = ("re2tal", *path.relative_to(PACKAGE).with_suffix("").parts)
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            found.update((*module, alias.name) for alias in node.names)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_the_top_level_is_seen_at_a_glance() -> None:
    parts = {part_of(path) for path in FILES} - {"__init__", "__main__"}
    assert len(parts) <= 15, sorted(parts)


def test_no_module_imports_one_that_imports_it() -> None:
    modules = {module_of(path): path for path in FILES}
    graph = {
        name: {module_in(target, modules) for target in imported(path)} - {name, ""} for name, path in modules.items()
    }
    tuple(TopologicalSorter(graph).static_order())  # raises a CycleError that names the cycle


def module_of(path: Path) -> str:
    """ "re2tal.data.windows" for data/windows.py, "re2tal.data" for its __init__.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_in(name: tuple[str, ...], modules: dict[str, Path]) -> str:
    """The module of ours that an absolute name is of, or in."""
    return next((found for end in (len(name), len(name) - 1) if (found := ".".join(name[:end])) in modules), "")


def test_no_two_classes_share_a_name() -> None:
    trees = [ast.parse(path.read_text()) for path in FILES]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


def test_every_part_is_in_the_table() -> None:
    assert {part_of(path) for path in FILES} <= MAY_IMPORT.keys() | SEE_EVERYTHING


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path: Path) -> None:
    part = part_of(path)
    if part in SEE_EVERYTHING:
        return
    parts = {name[1] for name in imported(path) if name[0] == "re2tal" and len(name) > 1} - {part, "__version__"}
    assert parts <= MAY_IMPORT[part], f"{part} may import {sorted(MAY_IMPORT[part])}, not {sorted(parts)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "reversible").rglob("*.py")), ids=lambda path: path.name)
def test_the_engine_imports_torch_alone(path: Path) -> None:
    import sys

    external = {name[0] for name in imported(path)} - set(sys.stdlib_module_names) - {"re2tal", "__future__"}
    assert external <= EXTERNAL_OF_REVERSIBLE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, "split the file"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            docstring = ast.get_docstring(node)
            length -= len(docstring.splitlines()) + 1 if docstring else 0
            assert length <= 50, f"{node.name} has {length} lines beside its docstring"
