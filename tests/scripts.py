"""Programs beside the package (benchmarks/, tools/) as modules, for tests of their parts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load_script(path: str) -> ModuleType:
    """The program at `path` below the repository's root.

    It may import what lies beside it, and another program may then import it by its name.
    """
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str((ROOT / path).parent))
        spec.loader.exec_module(module)
    return module
