"""A small rewired Video Swin on the demo's videos."""

from pathlib import Path

from re2tal.config.presets import demo, demo_swin

config = demo(
    data=Path("exps/demo/data"),
    name="demo_re2swin",
    work_dir=Path("exps/demo_re2swin"),
    backbone=demo_swin(reversible="auto"),
    epochs=60,
    learning_rate=2e-3,
    backbone_learning_rate=1e-3,
)
