"""A data set of a few tiny videos and a config that trains on them in a second."""

import json
from pathlib import Path

import numpy as np

from re2tal.video import write_video

FPS = 8
NUM_FRAMES = 48
SIZE = 16
ACTIONS = [{"segment": [0.5, 2.0], "label": "flash"}, {"segment": [3.0, 5.5], "label": "glow"}]

CONFIG = '''
"""A tiny experiment."""

from pathlib import Path

from re2tal.networks.backbones import PathwayConfig, SlowFastConfig
from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, WindowSampling
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, JitterConfig, RandAugmentConfig

here = Path(__file__).parent

config = ExperimentConfig(
    name="tiny",
    work_dir=here / "exps",
    backbone=SlowFastConfig(
        blocks=(2, 2),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
        fusion_kernel=3,
        reversible=True,
        freeze_norms=False,
    ),
    pyramid=PyramidConfig(channels=8, num_heads=2, arch=(1, 1, 2), max_steps=16),
    data=DataConfig(
        annotations=here / "annotations.json",
        videos=here / "videos",
        sampling=WindowSampling(num_steps=16, frames_per_step=2, frame_stride=1),
        short_side_train=16,
        short_side_test=16,
        crop_size=(16, 16),
        cache_mib=16,
        max_broken_share=0.3,
    ),
    training=TrainingConfig(epochs=2, batch_size=2, warmup_epochs=0.5, learning_rate=1e-3, num_workers=0),
)
'''


def make_tiny_experiment(folder: Path) -> Path:
    """Write videos, annotations and a config into `folder`; returns the config's path."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    database = {}
    for number in range(6):
        video_id = f"video{number}"
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 100, (NUM_FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        for action, brightness in zip(ACTIONS, (150, 80), strict=True):
            start, end = (int(seconds * FPS) for seconds in action["segment"])
            frames[start:end] += np.uint8(brightness)
        write_video(videos / f"{video_id}.mp4", frames, fps=FPS)
        database[video_id] = {
            "subset": "training" if number < 4 else "validation",
            "duration": NUM_FRAMES / FPS,
            "frame": NUM_FRAMES,
            "annotations": ACTIONS,
        }
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    path = folder / "tiny.py"
    path.write_text(CONFIG)
    return path
