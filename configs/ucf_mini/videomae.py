"""A small VideoMAE on ucf_mini, for `re2tal pretrain` and `re2tal train`."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["videomae"](name="videomae", reversible=False)
