"""A small Video Swin on the demo's videos; from scratch it needs several times the epochs of a SlowFast."""

from pathlib import Path

from re2tal.backbones import SwinConfig
from re2tal.presets import demo

backbone = SwinConfig(
    embed_dim=48,
    depths=(2, 2, 2),
    num_heads=(3, 6, 12),
    window_size=(8, 4, 4),
    drop_path=0.0,
    reversible=False,
    freeze_norms=False,
)
config = demo(data=Path("exps/demo/data"), name="demo_swin", work_dir=Path("exps/demo_swin"), backbone=backbone)
