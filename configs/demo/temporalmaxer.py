"""The demo with TemporalMaxer's pyramid: two convolutions and max pooling in the place of attention."""

from pathlib import Path

from re2tal.config.presets import demo
from re2tal.networks.pyramid import MaxPoolPyramidConfig

config = demo(data=Path("exps/demo/data"), name="demo_temporalmaxer", work_dir=Path("exps/demo_temporalmaxer"))
config = config.model_copy(update={"pyramid": MaxPoolPyramidConfig(channels=64, arch=(2, 2))})
