"""The demo with TriDet's pyramid and head: boundaries are found where features change, relative to one another."""

from pathlib import Path

from re2tal.config.presets import demo
from re2tal.networks.heads import TridentHeadConfig
from re2tal.networks.pyramid import SgpPyramidConfig

config = demo(data=Path("exps/demo/data"), name="demo_tridet", work_dir=Path("exps/demo_tridet"))
config = config.model_copy(
    update={
        "pyramid": SgpPyramidConfig(channels=64, arch=(1, 1, 2), window=3, mlp_channels=128, drop_path=0.0),
        "head": TridentHeadConfig(
            num_convs=1,
            first_reach=16.0,
            num_bins=16,
            center_radius=6.0,
            regression_weight=2.0,
            initial_normalizer=200.0,
        ),
    }
)
