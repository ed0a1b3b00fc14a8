"""Re2Swin-T on Kinetics-400: what the published Re2 weights come from, 30 epochs from those of the plain Swin-T.

By Dr2Net's coefficients it begins near the plain network; `training.anneal_epochs=0 backbone.alpha=0 backbone.beta=1`
is the paper's own way. Sizes, rates and lengths are those of mmaction2's config of the plain network.
"""

from pathlib import Path

from re2tal.experiments.finetuning import ClipsConfig, ClipSource, FinetuneConfig
from re2tal.networks.backbones import SwinConfig
from re2tal.training import TrainingConfig

KINETICS = Path("data/kinetics400")

config = FinetuneConfig(
    name="kinetics400_re2swin_tiny",
    work_dir=Path("exps/finetune/kinetics400_re2swin_tiny"),
    backbone=SwinConfig(
        reversible=True,
        drop_path=0.1,
        freeze_norms=False,
        alpha=0.75,
        beta=0.25,
        pretrained=Path(
            "pretrained/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220930-241016b2.pth"
        ),
    ),
    data=ClipsConfig(
        train=ClipSource(videos=KINETICS / "train", labels=KINETICS / "train.csv"),
        test=ClipSource(videos=KINETICS / "val", labels=KINETICS / "val.csv"),
        num_frames=32,
        frame_stride=2,
        test_clips=4,
    ),
    training=TrainingConfig(
        epochs=30,
        anneal_epochs=10,
        warmup_epochs=2.5,
        batch_size=64,
        learning_rate=1e-3,
        backbone_learning_rate=1e-4,
        amp="fp16",
        keep_checkpoints=3,
        num_workers=8,
    ),
)
