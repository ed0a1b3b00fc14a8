"""The demo's detector on the backbone that `re2tal demo` trained, frozen: what comes after it is trained anew.

Nothing is augmented, so that stored features (data.features) can take the place of pixels.
"""

from pathlib import Path

from re2tal.config import override
from re2tal.config.presets import demo

config = override(
    demo(data=Path("exps/demo/data"), name="demo_frozen", work_dir=Path("exps/demo_frozen"), epochs=6),
    [
        "backbone.frozen=True",
        "backbone.pretrained=exps/demo/checkpoint/best.pth",
        "data.short_side_train=32",
        "augment.crop=None",
        "augment.flip_probability=0",
        "augment.jitter.brightness=0",
    ],
)
