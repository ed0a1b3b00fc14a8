"""ActionFormer on Ego4D's moment queries, on EgoVLP features: snippets of 16 frames, every 16."""

from pathlib import Path
from runpy import run_path

from re2tal.data import FeatureFiles
from re2tal.networks.pyramid import PyramidConfig

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["ego4d"](
    name="actionformer_ego4d_egovlp",
    files=FeatureFiles(path=common["EGO4D"] / "features/mq_egovlp", channels=256),
    stride=16,
    offset=8,
    pyramid=PyramidConfig(channels=384, arch=(2, 2, 8), attention_window=(*(9,) * 6, *(None,) * 3), max_steps=1024),
)
