"""What a training step launches and waits for: exact counts, of tensors without values."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from launches import BACKBONES, Counted, backbone_step, count, detect, detector_step, training_of
from torchvision.models import VisionTransformer

from re2tal.common.types import Batch, PixelBatch
from re2tal.config import ExperimentConfig, load_config
from re2tal.evaluation import GroundTruth, Predictions, mean_average_precision
from re2tal.reversible import rewire
from re2tal.video import AugmentConfig, RandAugmentConfig
from re2tal.video.rand_augment import OperationName

CONFIGS = sorted((Path(__file__).parents[1] / "configs/re2tal").glob("e2e_*.py"))


@pytest.mark.parametrize(("network", "way", "most"), [("Swin-T", "24/64 GiB", 1.4), ("SlowFast-101", "whole", 2.2)])
def test_a_step_launches_few_kernels_and_waits_once(network: str, way: str, most: float) -> None:
    plain, ours = (count(backbone_step(BACKBONES[network], chosen, frames=64, size=224)) for chosen in ("plain", way))
    assert ours.kernels.total() <= most * plain.kernels.total()
    assert ours.waits <= 1


@pytest.mark.slow  # a minute: a step of 1024 frames, tile by tile, twice
def test_a_step_of_a_detector_s_training_launches_few_kernels() -> None:
    plain, ours = (count(detector_step(way)) for way in ("plain", "24/64 GiB"))
    assert ours.kernels.total() <= 5.0 * plain.kernels.total()


def test_a_step_of_a_detector_s_training_waits_twice() -> None:
    """For the streams' formats, and for what is told and judged."""
    assert [count(detector_step(way)).waits for way in ("plain", "whole")] == [1, 2]


def test_blocks_that_are_examined_on_another_device_wait_for_it_once_each() -> None:
    """In the first step after the network was moved, and once more for their streams: they are run one by one then."""
    model = VisionTransformer(32, 8, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=16)
    x = torch.randn(2, 3, 32, 32)
    rewire(model, example=x).to("meta")
    waits = []
    for _ in range(2):
        with Counted() as counted:
            model(x.to("meta")).sum().backward()
        waits.append(counted.waits)
    assert waits == [2 * 4, 1]


def with_every_change(batch: Batch, config: ExperimentConfig) -> Batch:
    """Clips whose pixels are changed, once they are on the device, by all operations there are."""
    names = get_args(OperationName)
    assert isinstance(config.augment, AugmentConfig) and isinstance(batch, PixelBatch)
    augment = config.augment.model_copy(update={"rand_augment": RandAugmentConfig(num_operations=len(names))})
    changed = []
    for clip in batch.frames:
        _, num_frames, *size = clip.shape
        frames = list(clip.transpose(0, 1))
        changed.append(
            augment.begin(frames, rng=np.random.default_rng(0), size=(size[0], size[1]), num_frames=num_frames)
        )
    clips, changes = zip(*changed, strict=True)
    return replace(batch, frames=torch.stack(clips), changes=changes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_experiment_stays_on_its_device(path: Path) -> None:
    """Copy of a batch, every change of its pixels, backbone, losses, optimizer, averaged weights, proposals: a tensor
    of another device is an error there. Testing asks for the points inside the video, for NaN, and for scores and
    segments, of which numbers are made here: they find nothing.
    """
    shallow = "backbone.depths=(2,1,1,1)" if "swin" in path.stem else "backbone.blocks=(2,1,1,1)"
    options = [shallow, "training.amp=none", "data.crop_size=(112,112)", "data.sampling.num_steps=64"]
    config = load_config(path, options)
    trainer, batch = training_of(config, tiles=2**28)
    shown = with_every_change(batch, config)
    counted = count(lambda: trainer.step([shown]))
    assert counted.waits <= 1 + config.backbone.reversible
    assert counted.kernels["grid_sampler_2d"] >= 3  # shears and the rotation
    found, counted = detect(config, trainer, batch)
    assert counted.waits <= 6
    assert len(found[0].scores) > 0 and {found[0].scores.device.type} == {"cpu"}
    names = [f"class {number}" for number in range(20)]
    truth = GroundTruth(
        video_ids=("random",),
        class_names=tuple(names),
        video_index=np.zeros(20, np.int64),
        label_index=np.arange(20),
        segments=np.tile([0.0, 0.5], (20, 1)),
    )
    result = mean_average_precision(
        truth, Predictions.from_detections(found, class_names=names), tious=config.evaluation.tious
    )
    assert result.num_predictions == len(found[0].scores) and result.average == 0
