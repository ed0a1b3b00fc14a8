"""ActionFormer on FineAction, on VideoMAEv2-g features: snippets of 16 frames without overlap."""

from pathlib import Path
from runpy import run_path

from re2tal.data import FeatureFiles
from re2tal.training import TrainingConfig

common = run_path(str(Path(__file__).with_name("common.py")))

config = common["fineaction"](
    name="actionformer_fineaction_videomaev2_g",
    files=FeatureFiles(path=common["FINEACTION"] / "features/fineaction_mae_g", channels=1408),
    training=TrainingConfig(epochs=15, batch_size=16, learning_rate=1e-3, eval_from=7),
)
