"""The demo with a head of its own: `re2tal demo` makes its videos."""

from pathlib import Path

from re2tal.common.extension import extension
from re2tal.config.presets import demo

head = extension(Path(__file__).with_name("centre_head.py:CentreHeadConfig"), num_convs=1, strides_per_action=24)

config = demo(data=Path("exps/demo/data"), name="centre_head", work_dir=Path("exps/centre_head")).model_copy(
    update={"head": head}
)
