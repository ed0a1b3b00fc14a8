"""ActionFormer on Ego4D's moment queries, on InternVideo's VideoMAE-L features: snippets of 16 frames, every 8."""

from pathlib import Path
from runpy import run_path

from re2tal.data import FeatureFiles
from re2tal.networks.pyramid import PyramidConfig

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["ego4d"](
    name="actionformer_ego4d_internvideo",
    files=FeatureFiles(
        path=common["EGO4D"] / "features/videomae_large_internvideo_img256_stride8_len16_interval1_ego4d", channels=1024
    ),
    stride=8,
    offset=4,
    pyramid=PyramidConfig(arch=(2, 2, 9), attention_window=(*(17,) * 7, *(None,) * 3), max_steps=2048),
)
