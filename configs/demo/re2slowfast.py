"""The training of `re2tal demo`, on the videos that it made."""

from pathlib import Path

from re2tal.config.presets import demo

config = demo(data=Path("exps/demo/data"))
