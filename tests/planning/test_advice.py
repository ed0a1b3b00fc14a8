"""Running out of memory is answered with what would fit."""

import re
from pathlib import Path

import pytest
import torch

from re2tal.config import ExperimentConfig, override
from re2tal.config.presets import demo
from re2tal.experiments.planning import OutOfMemory, explaining_lack_of_memory, make_plan, what_fits

CPU = torch.device("cpu")


def config(*options: str) -> ExperimentConfig:
    small = ("data.num_classes=5", "pyramid.arch=(1,0,2)", "backbone.blocks=(1,2,1)")
    return override(
        demo(data=Path("nowhere")),
        [*small, "data.crop_size=(64,64)", "data.short_side_test=64", "data.short_side_train=72", *options],
    )


def test_everything_that_is_suggested_fits() -> None:
    plain = config("backbone.reversible=False")
    needed = make_plan(plain, memory=2**40, device=CPU, quick=True).estimates[0].total
    memory = int(0.9 * needed)
    suggestions = what_fits(plain, memory=memory, device=CPU)
    assert any("accumulate" in suggestion for suggestion in suggestions)
    for suggestion in suggestions:
        changed = override(plain, suggestion.split())
        assert make_plan(changed, memory=memory, device=CPU, quick=True).fits, suggestion


def test_too_little_memory_for_anything_gives_no_suggestion() -> None:
    assert what_fits(config(), memory=2**20, device=CPU) == []


def test_the_error_of_a_real_allocation_is_answered() -> None:
    explaining = explaining_lack_of_memory(config(), device=CPU, processes=1)
    with pytest.raises(OutOfMemory, match="of these would fit") as caught, explaining:
        torch.empty(2**60, dtype=torch.uint8)
    assert re.search(r"--cfg-options \S+=\S+", str(caught.value))


def test_other_errors_pass() -> None:
    explaining = explaining_lack_of_memory(config(), device=CPU, processes=1)
    with pytest.raises(RuntimeError, match="something else"), explaining:
        raise RuntimeError("something else")


def test_nothing_happens_where_memory_suffices() -> None:
    with explaining_lack_of_memory(config(), device=CPU, processes=1):
        pass
