"""TriDet on THUMOS-14, on ActionFormer's two-stream I3D features. Published: 69.3 % mean mAP (OpenTAD: 69.60 %)."""

import runpy
from pathlib import Path

from re2tal.networks.heads import TridentHeadConfig
from re2tal.networks.pyramid import SgpPyramidConfig

actionformer = runpy.run_path(str(Path(__file__).with_name("actionformer_thumos_i3d.py")))["config"]

config = actionformer.model_copy(
    update={
        "name": "tridet_thumos_i3d",
        "work_dir": actionformer.work_dir.with_name("tridet_thumos_i3d"),
        # As published for these short actions: the two branches of the blocks stay at 0.
        "pyramid": SgpPyramidConfig(window=1, window_scale=5, mlp_channels=768, branch_std=0.0, input_noise=0.0005),
        "head": TridentHeadConfig(num_bins=16, iou_weight_power=0.2),
        "training": actionformer.training.model_copy(
            update={"epochs": 40, "warmup_epochs": 20, "weight_decay": 0.025, "eval_from": 30}
        ),
    }
)
