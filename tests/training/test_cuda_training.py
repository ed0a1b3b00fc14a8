"""The loop on a device: what it learns, how it goes on, and how often it waits."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from re2tal.common.types import Batch
from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import thumos
from re2tal.experiments.device_check.measuring import REDUCED
from re2tal.experiments.planning import NoBatches, example_batch
from re2tal.networks.backbones import BackboneConfig
from re2tal.reversible import reconstruction_error
from re2tal.training import Processes, RunFolder, Trainer
from tests.devices import CUDA, DEVICES
from tests.training.training_toy import ToyDetector, toy_config, toy_trainer


def experiment(backbone: BackboneConfig, *options: str) -> ExperimentConfig:
    """THUMOS's, in small."""
    small = ["data.sampling.num_steps=32", "data.crop_size=(32,32)", "pyramid.max_steps=32", "pyramid.channels=32"]
    config = thumos(name="small", backbone=backbone.model_copy(update={"reversible": True}))
    return override(config, [*small, "training.amp=none", "pyramid.drop_path=0", *options])


def trainer_of(config: ExperimentConfig, *, device: str, folder: Path) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        build_detector(config, num_classes=5).to(device).train(),
        config=config.training,
        loader=NoBatches(),
        processes=Processes(device=torch.device(device)),
        folder=RunFolder(folder),
        about={},
    )


def batch_of(config: ExperimentConfig) -> Batch:
    torch.manual_seed(0)
    return example_batch(config, num_classes=5, num_clips=1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("network", REDUCED)
def test_a_step_is_the_cpu_s(network: str, device: str, tmp_path: Path) -> None:
    config = experiment(REDUCED[network], "training.accumulate=2", "training.batch_size=2")
    batch, found = batch_of(config), []
    for chosen in ("cpu", device):
        trainer = trainer_of(config, device=chosen, folder=tmp_path)
        found.append([trainer.step([batch, batch]) for _ in range(2)])
        assert reconstruction_error(trainer.model) == 0
    for plain, ours in zip(*found, strict=True):
        assert ours == pytest.approx(plain, rel=2e-3)


# A processor takes minutes for the convolutions of a SlowFast in fp16.
MIXED = [("Swin-T", "cpu"), pytest.param("Swin-T", *CUDA.values, id="Swin-T-cuda", marks=CUDA.marks)]
MIXED += [pytest.param("SlowFast-101", *CUDA.values, id="SlowFast-101-cuda", marks=CUDA.marks)]


@pytest.mark.parametrize(("network", "device"), MIXED)
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_step_in_mixed_precision_is_nearly_that_of_float32(
    network: str, device: str, amp: str, tmp_path: Path
) -> None:
    found = {}
    for precision in ("none", amp):
        config = experiment(REDUCED[network], f"training.amp={precision}")
        trainer = trainer_of(config, device=device, folder=tmp_path)
        found[precision] = trainer.step([batch_of(config)])
        assert reconstruction_error(trainer.model) == 0
    assert found[amp]["loss"] == pytest.approx(found["none"]["loss"], rel=0.02)
    assert found[amp]["gradient_norm"] == pytest.approx(found["none"]["gradient_norm"], rel=0.3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("amp", ["none", "fp16"])
def test_a_resumed_run_is_the_undisturbed_one(device: str, amp: str, tmp_path: Path) -> None:
    config, processes = toy_config(epochs=3, amp=amp), Processes(device=torch.device(device))

    def make() -> torch.nn.Module:
        return ToyDetector(dropout=0.5).to(device)

    whole = toy_trainer(tmp_path / "whole", config=config, make=make, processes=processes)
    whole.run(None)
    resumed = toy_trainer(tmp_path / "resumed", config=config, make=make, processes=processes)
    torch.manual_seed(1234)
    resumed.resume(tmp_path / "whole/checkpoint/epoch_0.pth")
    resumed.run(None)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("network", REDUCED)
def test_a_step_waits_for_a_gpu_twice(network: str, device: str, tmp_path: Path) -> None:
    """For the streams' formats, and for what is told and judged; tests/test_launches.py counts them without a GPU."""
    config = experiment(REDUCED[network])
    trainer, batch = trainer_of(config, device=device, folder=tmp_path), batch_of(config).pin_memory()
    assert waits_in(lambda: trainer.step([batch])) <= 2


def waits_in(step: Callable[[], object]) -> int:
    """Times that the GPU is waited for in a step after the second one."""
    step()
    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in told)
