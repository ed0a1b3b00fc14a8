"""What a training step launches and waits for: exact counts, of tensors without values."""

import pytest
from launches import BACKBONES, backbone_step, count, detector_step


@pytest.mark.parametrize(("network", "way", "most"), [("Swin-T", "24/64 GiB", 3.5), ("SlowFast-101", "whole", 2.2)])
def test_a_step_launches_few_kernels_and_waits_once(network: str, way: str, most: float) -> None:
    plain, ours = (count(backbone_step(BACKBONES[network], chosen, frames=64, size=224)) for chosen in ("plain", way))
    assert ours.kernels.total() <= most * plain.kernels.total()
    assert ours.waits <= 1


def test_a_step_of_a_detector_s_training_waits_twice() -> None:
    """For the streams' formats, and for what is told and judged."""
    assert [count(detector_step(way)).waits for way in ("plain", "whole")] == [1, 2]
