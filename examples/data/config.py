"""A small network on clips that are in no file; trains in a minute on a processor."""

from pathlib import Path

from re2tal.common.extension import extension
from re2tal.config.presets import demo

data = extension(
    Path(__file__).with_name("bursts.py:BurstsConfig"), short_side_train=32, short_side_test=32, crop_size=(32, 32)
)

config = demo(data=Path("unused"), name="bursts", work_dir=Path("exps/bursts")).model_copy(update={"data": data})
