"""The demo with fading light instead of its own augmentation: `re2tal demo` makes its videos."""

from pathlib import Path

from re2tal.common.extension import extension
from re2tal.config.presets import demo

augment = extension(Path(__file__).with_name("fading.py:FadingConfig"), strength=0.3)

config = demo(data=Path("exps/demo/data"), name="fading", work_dir=Path("exps/fading")).model_copy(
    update={"augment": augment}
)
