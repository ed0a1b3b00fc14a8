"""The same detector with InternVideo2's labels of whole videos, published with a mean mAP of 42.90.

Needs pip install "re2tal[zoo]". The published code takes the root of the product of both scores, which ranks alike.
"""

from pathlib import Path
from runpy import run_path

from re2tal.config.presets import ACTIVITYNET
from re2tal.detections import CuhkConfig

base = run_path(str(Path(__file__).with_name("e2e_anet_videomaev2_g_192x4_224_adapter.py")))["config"]
scores = ACTIVITYNET / "classifiers/anet_UMTv2_6B_k710+K40_f16_frozenTuning.json_converted.json"
config = base.model_copy(
    update={
        "name": f"{base.name}_internvideo2",
        "work_dir": Path(f"{base.work_dir}_internvideo2"),
        "postprocess": base.postprocess.model_copy(update={"video_labels": CuhkConfig(path=scores, top=2)}),
    }
)
