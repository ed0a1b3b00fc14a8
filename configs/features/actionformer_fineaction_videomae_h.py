"""ActionFormer on FineAction, on VideoMAE-H features: snippets of 16 frames without overlap."""

from pathlib import Path
from runpy import run_path

from re2tal.data import FeatureFiles
from re2tal.training import TrainingConfig

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["fineaction"](
    name="actionformer_fineaction_videomae_h",
    files=FeatureFiles(
        path=common["FINEACTION"] / "features/intervideo_mae_huge_k700_stride16_len16_fineaction", channels=1280
    ),
    training=TrainingConfig(epochs=20, batch_size=16, learning_rate=1e-3, eval_from=10),
)
