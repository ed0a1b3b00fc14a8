"""TemporalMaxer on THUMOS-14, on ActionFormer's two-stream I3D features. Published: 67.7 % mean mAP."""

import runpy
from pathlib import Path

from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.pyramid import MaxPoolPyramidConfig

actionformer = runpy.run_path(str(Path(__file__).with_name("actionformer_thumos_i3d.py")))["config"]

config = actionformer.model_copy(
    update={
        "name": "temporalmaxer_thumos_i3d",
        "work_dir": actionformer.work_dir.with_name("temporalmaxer_thumos_i3d"),
        "pyramid": MaxPoolPyramidConfig(),
        "postprocess": PostprocessConfig(nms=NmsConfig(sigma=0.5, max_segments=200)),
        "training": actionformer.training.model_copy(update={"epochs": 65, "warmup_epochs": 5, "eval_from": 50}),
    }
)
