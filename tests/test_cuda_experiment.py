"""From video files to detections on a device, and what a whole step takes there."""

from pathlib import Path

import pytest
import torch

from re2tal.config import load_config
from re2tal.config.building import build_detector
from re2tal.data import annotations_of, collate, training_clips
from re2tal.experiments import experiment
from re2tal.experiments.device_check.measuring import NETWORKS, PeakMemory, build_with, run_step
from re2tal.experiments.loading import load_epochs
from re2tal.inference.clips import ClipDetector
from re2tal.training import Processes
from tests.devices import CUDA, DEVICES


@pytest.mark.parametrize("device", DEVICES)
def test_clips_are_decoded_to_the_device_as_they_are(tiny: Path, device: str) -> None:
    config = load_config(tiny)
    processes = Processes(device=torch.device(device))
    clips = training_clips(config.data, config.augment, seed=0, annotations=annotations_of(config.data))
    size = config.data.clip_bytes(channels=config.backbone.out_channels)
    loader = load_epochs(clips, config.training, processes=processes, clip_bytes=size)
    loader.set_epoch(0)
    clips.set_epoch(0)
    seen = 0
    for batch, numbers in zip(loader, loader.batches, strict=True):
        assert batch.inputs.is_pinned() == (device != "cpu")
        moved = batch.to(processes.device)
        assert moved.inputs.device == processes.device
        for number, frames in zip(numbers, moved.inputs.cpu(), strict=True):
            assert torch.equal(frames, clips[number].inputs)
            seen += 1
    assert seen == len(clips)


@pytest.mark.parametrize("device", DEVICES)
def test_an_experiment_trains_and_tests(tiny: Path, device: str) -> None:
    config, processes = load_config(tiny), Processes(device=torch.device(device))
    folder = experiment.find_run(config, processes=processes)
    experiment.train(config, processes=processes, folder=folder)
    result = experiment.test(config, processes=processes, folder=folder)
    assert result is not None and 0 <= result.metrics["average_mAP"] <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_detections_are_the_cpu_s(tiny: Path, device: str) -> None:
    config = load_config(tiny)
    clips = training_clips(config.data, config.augment, seed=0, annotations=annotations_of(config.data))
    found = []
    whole = collate([clips[number] for number in range(len(clips))])
    for chosen in ("cpu", device):
        torch.manual_seed(0)
        model = build_detector(config, num_classes=2).to(chosen)
        detector = ClipDetector(model, config=config, device=torch.device(chosen), video_labels=None)
        found.append(list(detector.in_batch(whole)))
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours.scores.cpu(), plain.scores, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(ours.segments.cpu(), plain.segments, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", [CUDA])
def test_a_reversible_step_takes_a_third_of_the_memory(device: str) -> None:
    """Swin-T, 64 frames of 224 x 224 pixels in bfloat16; on a CPU such a step takes minutes."""
    taken = {}
    frames = torch.randint(0, 256, (1, 3, 64, 224, 224), dtype=torch.uint8, device=device)
    for strategy in ("plain", "reversible"):
        model = build_with(NETWORKS["Swin-T"], strategy).to(device)  # type: ignore[arg-type]
        for _ in range(2):
            model.zero_grad(set_to_none=True)
            with PeakMemory(frames.device) as peak:
                run_step(model, frames, 32, dtype=torch.bfloat16)
        taken[strategy] = peak.allocated
    assert taken["reversible"] < taken["plain"] / 3
