"""Whole videos of ten minutes, in which only what came minutes before tells two classes apart; see `demo_long`."""

from pathlib import Path

from re2tal.config.presets import demo_long

config = demo_long(data=Path("exps/demo_long/data"))
