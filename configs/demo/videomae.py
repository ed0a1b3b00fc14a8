"""A small VideoMAE on the demo's videos, for `re2tal pretrain` and `re2tal train`."""

from pathlib import Path

from re2tal.config.presets import demo, demo_videomae

config = demo(
    data=Path("exps/demo/data"),
    name="demo_videomae",
    work_dir=Path("exps/demo_videomae"),
    backbone=demo_videomae(reversible=False),
    epochs=60,
    learning_rate=2e-3,
    backbone_learning_rate=1e-3,
)
