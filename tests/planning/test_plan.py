"""What a step will take, told before it is run."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from re2tal.config import ConfigError, ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.experiments.planning import NoBatches, available_memory, example_batch, make_plan, parse_memory
from re2tal.experiments.planning.dry_run import DryRun
from re2tal.experiments.planning.plan import STRATEGIES, _largest, strategy_of
from re2tal.experiments.planning.tracker import MemoryTracker
from re2tal.training import Processes, RunFolder, Trainer

CPU = torch.device("cpu")
SMALL = ("data.num_classes=5", "training.batch_size=2", "pyramid.arch=(1,0,2)", "backbone.blocks=(1,2,1)")
LARGER = ("data.crop_size=(64,64)", "data.short_side_test=64", "data.short_side_train=72")


def small(*options: str) -> ExperimentConfig:
    """The demo's experiment, smaller."""
    return override(demo(data=Path("nowhere")), [*SMALL, *options])


def dry_run(config: ExperimentConfig) -> dict[str, int]:
    return DryRun(config, num_classes=5).step(num_steps=config.data.sampling.num_steps, num_clips=2)


# The tracker


def test_tracker_sees_the_fullest_moment_and_what_it_holds() -> None:
    with FakeTensorMode(), MemoryTracker() as tracker:
        with tracker.labelled("kept"):
            kept = torch.empty(1000, dtype=torch.uint8)
        with tracker.labelled("passing"):
            for size in (300, 700, 200):
                passing = torch.empty(size, dtype=torch.uint8)
                del passing
        view = kept[:10]
        del kept, view
    assert tracker.peak() == {"kept": 1000, "passing": 700}


def test_restart_forgets_what_is_gone() -> None:
    with FakeTensorMode(), MemoryTracker() as tracker:
        gone = torch.empty(500, dtype=torch.uint8)
        stays = torch.empty(70, dtype=torch.uint8)
        tracker.relabel(stays, "stays")
        del gone
        tracker.restart()
    assert tracker.peak() == {"stays": 70}


# A whole step


def peak_of_real_step(config: ExperimentConfig, folder: Path, *, num_clips: int) -> int:
    """Bytes allocated at the fullest moment of a real second step, as PyTorch's profiler saw them."""
    batch = example_batch(config, num_classes=5, num_clips=num_clips)
    trainer = Trainer(
        build_detector(config, num_classes=5),
        config=config.training.model_copy(update={"accumulate": 1}),
        loader=NoBatches(),
        processes=Processes(),
        folder=RunFolder(folder),
        about={},
    )
    trainer.model.train()
    trainer.step([batch])
    trainer.optimizer.zero_grad(set_to_none=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        trainer.step([batch])
    now = most = 0
    for size in _allocations(profile):
        now += size
        most = max(most, now)
    lasting = sum(t.nbytes for t in (*trainer.model.parameters(), *trainer.ema.module.parameters()))
    lasting += sum(v.nbytes for s in trainer.optimizer.state.values() for v in s.values() if torch.is_tensor(v))
    return most + lasting + batch.frames.nbytes


def _allocations(profile: Any) -> Iterator[int]:
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    yield from (e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_dry_run_takes_what_a_real_one_takes(strategy: Any, tmp_path: Path) -> None:
    options = [f"backbone.{key}={value}" for key, value in STRATEGIES[strategy].items()]
    config = small(*options, *LARGER, "backbone.freeze_norms=True")
    planned = sum(dry_run(config).values())
    assert planned == pytest.approx(peak_of_real_step(config, tmp_path, num_clips=2), rel=0.1)


def test_parts_are_the_sizes_of_what_they_name() -> None:
    config = small()
    model = build_detector(config, num_classes=5)
    size = sum(p.nbytes for p in model.parameters())
    buffers = sum(b.nbytes for b in model.buffers())
    batch = example_batch(config, num_classes=5, num_clips=2)
    parts = dry_run(config)
    assert size <= parts["parameters"] <= size + buffers + 2**16
    assert size <= parts["average"] <= size + buffers + 2**16
    assert parts["optimizer"] == pytest.approx(2 * size, rel=0.01)
    assert parts["input"] >= batch.frames.nbytes


def test_reversible_activations_do_not_grow_with_depth_and_plain_ones_do() -> None:
    def activations(strategy: str, depth: int) -> int:
        options = [f"backbone.{key}={value}" for key, value in STRATEGIES[strategy].items()]  # type: ignore[index]
        config = small(*options, f"backbone.blocks=({depth},{depth},{depth})", "backbone.freeze_norms=True")
        parts = dry_run(config)
        return parts["activations"] + parts.get("tile", 0)

    assert activations("reversible", 8) < 1.1 * activations("reversible", 2)
    assert activations("plain", 8) > 2 * activations("plain", 2)


# The plan


@pytest.mark.slow  # searches by some sixty dry runs
@pytest.mark.parametrize("strategy", ["plain", "reversible"])
def test_activations_go_with_the_share_of_chunks_that_get_gradients(strategy: Any) -> None:
    settings = [f"backbone.{name}={value}" for name, value in STRATEGIES[strategy].items()]
    kept = []
    for share in (1, 0.25):
        parts = dry_run(small(*settings, "backbone.chunk_frames=16", f"backbone.sampled_gradients={share}"))
        kept.append(parts["activations"] + parts.get("tile", 0))
    assert kept[1] < 0.5 * kept[0]


def test_the_longest_clip_fits_and_a_longer_one_does_not() -> None:
    config = small()
    memory = 2 * make_plan(config, memory=2**40, device=CPU, quick=True).estimates[0].total
    plan = make_plan(config, memory=memory, device=CPU)
    assert plan.fits and plan.own == strategy_of(config) == "reversible"
    for strategy in STRATEGIES:
        longest, largest = plan.longest[strategy], plan.largest[strategy]
        assert longest is not None and largest is not None
        assert longest.total <= memory and largest.total <= memory
        options = [f"backbone.{key}={value}" for key, value in STRATEGIES[strategy].items()]
        longer = [*options, f"data.sampling.num_steps={longest.num_frames * 21 // 20}"]
        more = [*options, f"training.batch_size={largest.num_clips + max(1, largest.num_clips // 20)}"]
        for changed in (longer, more):
            assert not make_plan(
                override(config, _rounded(changed, config)), memory=memory, device=CPU, quick=True
            ).fits


def _rounded(options: list[str], config: ExperimentConfig) -> list[str]:
    """A number of steps has to suit the pyramid."""
    deepest = config.pyramid.strides[-1]
    result = []
    for option in options:
        key, value = option.split("=", 1)
        if key == "data.sampling.num_steps":
            steps = -(-int(value) // deepest) * deepest
            result += [f"{key}={steps}", f"pyramid.max_steps={steps}"]
        else:
            result.append(option)
    return result


@pytest.mark.parametrize("start", [1, 16, 100])
@pytest.mark.parametrize("memory", [2000, 5000, 100_000])
@pytest.mark.parametrize(
    "size", [lambda n: 900 + 22 * n, lambda n: 100 + 900 * n, lambda n: 100 + 3 * n + n * n // 100, lambda n: 1500 + n]
)
def test_the_search_is_short_and_stops_a_20th_below_what_does_not_fit(size: Any, memory: int, start: int) -> None:
    tries = []

    def estimate(number: int) -> Any:
        tries.append(number)
        return SimpleNamespace(total=size(number), number=number)

    found = _largest(estimate, memory, start=start).number  # type: ignore[union-attr]
    assert size(found) <= memory < size(found + max(1, found // 20))
    assert len(tries) <= 16


def test_where_nothing_fits_the_plan_says_so() -> None:
    plan = make_plan(small(), memory=2**20, device=CPU)
    assert not plan.fits
    assert set(plan.longest.values()) == set(plan.largest.values()) == {None}


def test_processes_share_a_batch_and_hold_gradients_for_exchange() -> None:
    one, two = (make_plan(small(), memory=2**40, device=CPU, processes=n, quick=True).estimates[0] for n in (1, 2))
    assert (one.num_clips, two.num_clips) == (2, 1)
    assert one.parts["exchange"] == 0 and two.parts["exchange"] == two.parts["gradients"] > 0


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiple of processes x accumulate = 3 x 1, got 2"):
        make_plan(small(), processes=3)


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GiB", 24 * 2**30), ("24 gb", 24 * 10**9), ("1.5G", 1_500_000_000), ("800MiB", 800 * 2**20), ("4096", 4096)],
)
def test_memory_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GiB", "-3GiB", "24 GiB more", "24XB"])
def test_memory_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"such as 24GiB or 800MiB, got '{text}'"):
        parse_memory(text)


def test_there_is_memory_here() -> None:
    assert 2**27 < available_memory(CPU) < 2**50


# The command


def test_plan_prints_one_line_of_json_and_nothing_else(re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("plan", "configs/demo/re2slowfast.py", "--quick", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["way"] == "reversible" and told["fits"] is True
    parts = told["ways"]["reversible"]["parts_mib"]
    assert sum(parts.values()) == pytest.approx(told["ways"]["reversible"]["total_mib"], abs=1)


@pytest.mark.slow  # the whole search
def test_plan_prints_a_table(re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("plan", "configs/demo/re2slowfast.py", "--memory", "1GiB", "--cfg-options", *SMALL) == 0
    shown = capsys.readouterr().out
    assert "longest clip that fits" in shown and "reversible (this config)" in shown


def test_a_wrong_amount_of_memory_is_answered_in_one_message(re2tal: Any) -> None:
    assert "such as 24GiB" in re2tal("plan", "configs/demo/re2slowfast.py", "--memory", "lots")


def test_the_bits_that_coefficients_drop_are_counted() -> None:
    """With stages of several blocks, so that streams are what takes most."""
    deep = "backbone.blocks=(3,3,3)"
    whole, halves = (
        dry_run(small(deep, f"backbone.alpha={alpha}", f"backbone.beta={beta}"))["activations"]
        for alpha, beta in ((0, 1), (0.5, 0.5))
    )
    annealed = ("backbone.alpha=0.875", "backbone.beta=0.125", "training.anneal_epochs=2")
    eighths = dry_run(small(deep, *annealed))["activations"]
    assert 0 < halves - whole < eighths - whole
