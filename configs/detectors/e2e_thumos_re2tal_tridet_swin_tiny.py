"""Re2Swin-T + TriDet on THUMOS-14, from raw video: the detector's sizes are those published for I3D features.

torchrun --standalone --nproc_per_node=2 tools/train.py configs/detectors/e2e_thumos_re2tal_tridet_swin_tiny.py
"""

from pathlib import Path

from re2tal.config.presets import thumos
from re2tal.networks.backbones import SwinConfig
from re2tal.networks.heads import TridentHeadConfig
from re2tal.networks.pyramid import SgpPyramidConfig

config = thumos(
    name="re2tal_e2e_tridet_swin_tiny_frame1024",
    backbone=SwinConfig(
        reversible=True,
        drop_path=0.2,
        pretrained=Path("pretrained/invswin-tiny-p244-w877_kinetics400_pre_k400_ft_e30.pth"),
    ),
)
# On THUMOS-14's short actions the published network leaves the two branches of its blocks at 0.
config = config.model_copy(
    update={"pyramid": SgpPyramidConfig(branch_std=0.0, input_noise=0.0005), "head": TridentHeadConfig()}
)
