"""ActionFormer on MultiTHUMOS, on the two-stream I3D features of THUMOS-14's videos."""

from pathlib import Path

from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig

config = features_of_others(
    name="actionformer_multithumos_i3d",
    data=FeatureDataConfig(
        annotations=Path("data/multithumos/annotations/multithumos_anno.json"),
        files=(FeatureFiles(path=Path("data/thumos-14/features/i3d_actionformer_stride4_thumos"), channels=2048),),
        stride=4,
        offset=8,
        num_classes=65,
        train_subset=("training", "Validation"),
        test_subset=("validation", "Test", "testing"),
        sampling=WindowSampling(num_steps=2304, min_inside=0.5),
        test_whole=True,
    ),
    pyramid=PyramidConfig(arch=(3, 0, 5), attention_window=19, max_steps=2304),
    head=HeadConfig(),
    postprocess=PostprocessConfig(max_candidates=8000, nms=NmsConfig(sigma=0.5, max_segments=8000)),
    training=TrainingConfig(epochs=45, cosine_epochs=65, batch_size=2, learning_rate=1e-4, eval_from=35),
    tious=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
