"""A small Video Swin on the demo's videos."""

from pathlib import Path

from re2tal.config.presets import demo, demo_swin

config = demo(
    data=Path("exps/demo/data"),
    name="demo_swin",
    work_dir=Path("exps/demo_swin"),
    backbone=demo_swin(reversible=False),
    epochs=60,
    learning_rate=2e-3,
    backbone_learning_rate=1e-3,
)
