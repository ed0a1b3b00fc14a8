"""Memory and time of a backbone's training step by the number of frames, and the longest clip that fits."""

from collections.abc import Callable
from functools import partial

import torch

from re2tal.common.memory_size import MIB
from re2tal.experiments.device_check.context import LACK, PartContext, Row, attempted
from re2tal.experiments.device_check.exactness import DTYPES
from re2tal.experiments.device_check.measuring import (
    PeakMemory,
    build_with,
    described,
    elapsed,
    run_step,
    saving_elsewhere,
)
from re2tal.experiments.device_check.sizes import StepStrategy
from re2tal.networks.backbones import Backbone
from re2tal.training import chosen_precision

__all__ = ["measure_longest_clip", "measure_steps"]

_MORE_THAN_EXPECTED = 1.5
"""Times that a step may take longer than one of a shorter clip lets expect."""
_CLOSE_ENOUGH = 8
"""The longest clip is known once one longer by an eighth of it does not fit."""


def measure_steps(context: PartContext, *, network: str) -> None:
    """A row for every length and strategy, from the shortest clip on, while there is time and memory."""
    label, config = described(network, context.sizes)
    expected: dict[StepStrategy, float] = {}
    for frames in context.sizes.frames:
        for strategy in context.sizes.strategies:
            if expected.get(strategy, 0.0) > context.seconds_left:
                continue
            row: Row = {"network": label, "strategy": strategy, "frames": frames, "pixels": context.sizes.pixels}
            model = build_with(config, strategy).to(context.device)
            step = _step_of(context, model, strategy)
            found, reason = attempted(partial(_measured, context, step, frames), device=context.device)
            if found is None:
                context.keep(row | {"state": reason})
                expected[strategy] = float("inf")  # of all longer clips
                continue
            context.keep(row | found)
            steps = context.sizes.repeats + 2
            expected[strategy] = 2 * _MORE_THAN_EXPECTED * steps * found["step_s"]


def _step_of(context: PartContext, model: Backbone, strategy: StepStrategy) -> Callable[[int], None]:
    """A training step on a clip of so many random frames, in the precision that suits the device."""
    dtype = DTYPES[chosen_precision("auto", device=context.device)]
    pixels, device = context.sizes.pixels, context.device

    def step(frames: int) -> None:
        model.zero_grad(set_to_none=True)  # what one that failed has left
        clip = torch.randint(0, 256, (1, 3, frames, pixels, pixels), dtype=torch.uint8, device=device)
        with saving_elsewhere(strategy, device=device):
            run_step(model, clip, frames // 2, dtype=dtype)
        model.zero_grad(set_to_none=True)  # so that the next step's are counted

    return step


def _measured(context: PartContext, step: Callable[[int], None], frames: int) -> Row:
    step(frames)
    with PeakMemory(context.device) as peak:
        step(frames)
    seconds = elapsed(lambda: step(frames), device=context.device, repeats=context.sizes.repeats)
    return {
        "precision": chosen_precision("auto", device=context.device),
        "step_mib": round(peak.allocated / MIB, 1),
        "reserved_mib": round(peak.reserved / MIB, 1),
        "step_s": round(seconds, 5),
    }


def measure_longest_clip(context: PartContext, *, network: str) -> None:
    """A row for each of three strategies: the longest clip a step of which fits, and what was tried."""
    label, config = described(network, context.sizes)
    strategies: list[StepStrategy] = ["plain", "checkpointed", "reversible"]
    for number, strategy in enumerate(strategies):
        until = context.seconds_left * (1 - 1 / (len(strategies) - number))
        row: Row = {"network": label, "strategy": strategy, "frames": 0, "ended_by": "", "tried": []}
        row["pixels"] = context.sizes.pixels
        model = build_with(config, strategy).to(context.device)
        _search(context, row, _step_of(context, model, strategy), until=until)
        del model


def _search(context: PartContext, row: Row, step: Callable[[int], None], *, until: float) -> None:
    """Double the length until it does not fit, then halve the interval; the row says what is known at any time.

    Args:
        context: of the part.
        row: changed, and kept after every try.
        step: of a clip of a length.
        until: seconds that have to be left at the end.
    """
    guess, most = context.sizes.longest
    too_long, per_frame = None, 0.0
    while guess <= most:
        if context.seconds_left - _MORE_THAN_EXPECTED * per_frame * guess < until:
            row["ended_by"] = "time"
            break
        tried = _try(context, step, guess)
        row["tried"].append(tried)
        if tried["fits"]:
            row["frames"], per_frame = guess, tried["step_s"] / guess
        else:
            too_long = guess
            row["ended_by"] = tried.get("state", LACK)
        context.keep(row)
        if too_long is None:
            guess *= 2
        elif too_long - row["frames"] <= max(row["frames"] // _CLOSE_ENOUGH, 2):
            break
        else:
            guess = (row["frames"] + too_long) // 4 * 2  # an even number of frames
    else:
        row["ended_by"] = "the longest that is tried"
    context.keep(row)


def _try(context: PartContext, step: Callable[[int], None], frames: int) -> Row:
    """Whether a step fits, its memory in MiB and its seconds."""
    limit, peak = context.sizes.memory_mib, PeakMemory(context.device)

    def once() -> float:
        with peak:
            return elapsed(lambda: step(frames), device=context.device, repeats=1)

    seconds, reason = attempted(once, device=context.device)
    if seconds is None:
        return {"frames": frames, "fits": False, "state": reason}
    mib = round(peak.allocated / MIB, 1)
    return {"frames": frames, "fits": limit is None or mib <= limit, "step_mib": mib, "step_s": round(seconds, 4)}
