"""The demo on a backbone and a pyramid of its own: `re2tal demo` makes its videos."""

from pathlib import Path

from re2tal.common.extension import extension
from re2tal.config.presets import demo

SMALL = Path(__file__).with_name("small.py")

config = demo(data=Path("exps/demo/data"), name="small", work_dir=Path("exps/small")).model_copy(
    update={
        "backbone": extension(f"{SMALL}:ConvConfig", out_channels=16, freeze_norms=False),
        "pyramid": extension(f"{SMALL}:PooledConfig", channels=32, num_levels=3),
    }
)
