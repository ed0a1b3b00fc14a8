"""Whatever is done to a rewired network, it computes what it should or refuses: stress/modifications.py in small."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import ModuleType

import pytest
import torch

NETWORKS = 100


@pytest.fixture(scope="module")
def modifications() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield import_module("modifications")
    torch.set_num_threads(threads)


def test_modified_networks_compute_what_plain_autograd_does_or_refuse(modifications: ModuleType) -> None:
    summary = modifications.Summary()
    for number in range(NETWORKS):
        summary.add(modifications.examine(number))
    assert summary.passed, "\n".join(map(modifications.told, summary.failures))
    assert summary.outcomes["equal"] > NETWORKS / 2


def test_networks_to_which_nothing_is_done_are_equal(modifications: ModuleType) -> None:
    for number in range(0, 200, 20):
        case = replace(modifications.draw_case(number), modifications=())
        for setting in modifications.SETTINGS:
            verdict = modifications.judge(case, setting=setting)
            assert verdict.outcome == "equal", f"case {number}, {setting}: {verdict}"


def test_the_comparison_sees_no_difference_between_equal_networks(modifications: ModuleType) -> None:
    for number in range(0, 200, 10):
        result = modifications.check_itself(number)
        assert result.outcome not in modifications.FAILED, modifications.told(result)


def test_the_comparison_sees_a_gradient_that_is_off(modifications: ModuleType) -> None:
    case = replace(modifications.draw_case(0), modifications=())
    ours, plain = (modifications.run(case, modifications.Way("plain")) for _ in range(2))
    name = next(name for name, value in ours.values.items() if "gradient of stages" in name and value is not None)
    ours.values[name] = ours.values[name] * (1 + 1e-6)
    verdict = modifications.compare(ours, plain)
    assert verdict.outcome == "silent difference" and verdict.text.startswith(name)


def test_an_error_of_torch_is_a_crash_unless_plain_autograd_raises_it(modifications: ModuleType) -> None:
    from re2tal.reversible import rewire

    error, other = RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn"), ValueError()
    try:
        rewire(torch.nn.Identity())
    except ValueError as refusal:
        other = refusal
    trace = import_module("modifying.running").Trace
    failed, refused, plain = trace(error=error), trace(error=other), trace()
    assert modifications.compare(failed, plain).outcome == "crash"
    assert modifications.compare(failed, failed).outcome == "refused"
    assert modifications.compare(refused, plain).outcome == "refused"
    assert modifications.compare(plain, failed).outcome == "silent difference"
