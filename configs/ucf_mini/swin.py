"""A small Video Swin on ucf_mini."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["ucf_mini"](name="swin", backbone=common["swin"](reversible=False), learning_rate=2e-3)
