"""The rewired twin of slowfast.py."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["slowfast"](name="re2slowfast", reversible="auto")
