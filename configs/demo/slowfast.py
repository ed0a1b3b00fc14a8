"""The demo's network as it was before rewiring."""

from pathlib import Path

from re2tal.config.presets import demo, demo_slowfast

config = demo(
    data=Path("exps/demo/data"),
    name="demo_slowfast",
    work_dir=Path("exps/demo_slowfast"),
    backbone=demo_slowfast(reversible=False),
)
