"""Compare two runs of a case, and say what came of it."""

import dataclasses
import math
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import re2tal
from modifying.running import Case, Trace, Way, run
from modifying.table import DURING

TOLERANCE = 1e-8
FLOOR = 1e-3
"""Of what a gradient is compared with, as a part of all of them: some vanish but for rounding."""

OUTCOMES = ("equal", "stored", "refused", "silent difference", "crash")
FAILED = ("silent difference", "crash")

PACKAGE = str(Path(re2tal.__file__).parent)


@dataclass(frozen=True)
class Verdict:
    """What came of a case with one pair of coefficients."""

    outcome: str
    """One of OUTCOMES."""
    text: str = ""
    """The error, or what differs."""


def judge(case: Case, *, setting: str) -> Verdict:
    """Compare the rewired network in mode "reversible" with plain autograd.

    Args:
        case: to run.
        setting: "original" compares with the network that was never rewired, at alpha = 1, beta = 0; "re2tal" with two
            streams in plain torch at alpha = 0, beta = 1, or with mode "store" where the blocks' form is not known.
    """
    if setting == "original":
        rewired = run(case, Way("rewired"))
        reference_way = Way("plain")
    else:
        rewired = run(case, Way("rewired", alpha=0.0, beta=1.0))
        reference_way = Way("two streams", reversible=rewired.reversible)
        if case.changes_blocks:
            reference_way = Way("rewired", alpha=0.0, beta=1.0, mode="store")
    reference = run(case, reference_way)
    if rewired.error is None and reference.error is not None and case_is_deferrable(case):
        reference = run(case, dataclasses.replace(reference_way, deferred=True))
    return compare(rewired, reference, is_plain=reference_way.kind != "rewired")


def case_is_deferrable(case: Case) -> bool:
    """Whether what plain autograd refuses may be what was done between forward and backward."""
    return any(planned.moment == DURING for planned in case.modifications)


def compare(rewired: Trace, reference: Trace, *, is_plain: bool = True) -> Verdict:
    """What came of a rewired network, given what plain autograd computes."""
    stopped = rewired.error is not None or reference.error is not None
    difference = next(differences(rewired, reference, common=stopped), None)
    if difference is not None:
        return Verdict("silent difference", difference)
    if rewired.error is not None:
        text = described(rewired.error)
        if reference.error is not None and same_error(rewired.error, reference.error):
            return Verdict("refused", f"as plain autograd: {text}")
        if is_clear(rewired.error):
            return Verdict("refused", text)
        return Verdict("crash", f"{rewired.stage}: {text}\n{''.join(traceback.format_exception(rewired.error)[-4:])}")
    if reference.error is not None:
        text = f"{reference.stage}: {described(reference.error)}"
        if is_plain:
            return Verdict("silent difference", f"plain autograd refuses, the rewired network does not; {text}")
        return Verdict("refused" if is_clear(reference.error) else "crash", f"mode store, {text}")
    return Verdict("stored" if set(rewired.warnings) - set(reference.warnings) else "equal")


def differences(ours: Trace, reference: Trace, *, common: bool) -> Iterator[str]:
    """What is not the same, in the order of time.

    Args:
        ours: of the rewired network.
        reference: of plain autograd.
        common: leave out what only one of them has come to.
    """
    for name in {**reference.values, **ours.values}:
        if name in ours.values and name in reference.values:
            scale = reference.scales.get(name.partition(" of ")[0], 0.0)
            found = difference_of(ours.values[name], reference.values[name], scale=scale)
            if found is not None:
                yield f"{name}: {found}"
        elif not common:
            yield f"{name}: only {'the rewired network' if name in ours.values else 'plain autograd'} has it"


def difference_of(ours: Any, reference: Any, *, scale: float) -> str | None:
    """None if they are the same."""
    if isinstance(ours, Tensor) and isinstance(reference, Tensor):
        return _difference_of_tensors(ours, reference, scale=scale)
    if isinstance(ours, list | tuple) and isinstance(reference, list | tuple):
        if len(ours) != len(reference):
            return f"{len(ours)} entries instead of {len(reference)}"
        found = (difference_of(a, b, scale=scale) for a, b in zip(ours, reference, strict=True))
        return next((text for text in found if text is not None), None)
    if type(ours) is type(reference) and not isinstance(ours, Tensor):
        return None if ours == reference else f"{ours!r} instead of {reference!r}"
    names = ["a tensor" if isinstance(value, Tensor) else repr(value) for value in (ours, reference)]
    return f"{names[0]} instead of {names[1]}"


def _difference_of_tensors(ours: Tensor, reference: Tensor, *, scale: float) -> str | None:
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return f"{ours.dtype} {tuple(ours.shape)} instead of {reference.dtype} {tuple(reference.shape)}"
    ours, reference = ours.double(), reference.double()
    finite = reference.isfinite()
    if not torch.equal(ours.isfinite(), finite):
        return f"{int((~ours.isfinite()).sum())} elements are not finite instead of {int((~finite).sum())}"
    ours, reference = ours[finite], reference[finite]
    off = float((ours - reference).norm())
    size = max(float(reference.norm()), FLOOR * scale if math.isfinite(scale) else 0.0, 1e-6)
    return f"off by {off / size:.1e}" if off > TOLERANCE * size else None


def described(error: Exception) -> str:
    """Class and text."""
    return f"{type(error).__name__}: {error}"


def same_error(ours: Exception, reference: Exception) -> bool:
    """Whether plain autograd says the same."""
    return type(ours) is type(reference) and _words(ours) == _words(reference)


def _words(error: Exception) -> str:
    return re.sub(r"\d+|0x\w+", "0", str(error))[:60]


def is_clear(error: Exception) -> bool:
    """Whether the package raises it itself, with some words: that they are the right ones is for people."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and frames[-1].filename.startswith(PACKAGE) and str(frames[-1].line).startswith("raise ")
    return ours and isinstance(error, ValueError | RuntimeError | ArithmeticError) and len(str(error)) >= 40


def smallest(case: Case, found: Verdict, *, setting: str) -> tuple[Case, Verdict]:
    """Leave out modifications as long as the outcome stays the same."""
    for planned in case.modifications:
        fewer = tuple(other for other in case.modifications if other is not planned)
        without = dataclasses.replace(case, modifications=fewer)
        verdict = judge(without, setting=setting)
        if verdict.outcome == found.outcome:
            case, found = without, verdict
    return case, found
