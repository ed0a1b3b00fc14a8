"""EfficientNet-Lite0 with ImageNet weights, frame by frame."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["pretrained"](network="efficientnet_lite0", takes="BCHW", clip_frames=1)
