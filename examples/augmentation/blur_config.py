"""The demo with RandAugment, which draws from its published operations and from blur."""

from pathlib import Path

from re2tal.common.extension import extension
from re2tal.config.presets import demo
from re2tal.video import AugmentConfig, RandAugmentConfig

blur = extension(Path(__file__).with_name("fading.py:BlurConfig"), half_width=1)

config = demo(data=Path("exps/demo/data"), name="blur", work_dir=Path("exps/blur")).model_copy(
    update={"augment": AugmentConfig(rand_augment=RandAugmentConfig(more_operations=(blur,)))}
)
