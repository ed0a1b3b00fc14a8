"""The rewired twin of swin.py."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["swin"](name="re2swin", reversible="auto")
