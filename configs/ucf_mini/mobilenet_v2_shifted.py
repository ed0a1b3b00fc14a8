"""MobileNetV2 with ImageNet weights and channels shifted along time, in pieces of 8 frames."""

from pathlib import Path
from runpy import run_path

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["pretrained"](network="mobilenet_v2_shifted", takes="BCTHW", clip_frames=8)
