"""Which modules of a network are residual blocks, and which of them follow each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

from re2tal.reversible.tracing.recording import Call, Recording
from re2tal.reversible.tracing.residual import FEWEST, Refused, additions, joins, view_of
from re2tal.reversible.tracing.splitting import BlockSplit, split

__all__ = ["Candidate", "Found", "chains_of", "find_blocks"]


@dataclass(frozen=True)
class Candidate:
    """A residual block in one of its calls."""

    call: Call
    split: BlockSplit


@dataclass(frozen=True)
class Found:
    """What a recording of a network shows."""

    blocks: tuple[Candidate, ...]
    """In the order of their calls."""
    refused: dict[nn.Module, str]
    """Modules that add to what they are given, or are of the class of a block, and cannot be rewired: the reason."""


def find_blocks(recording: Recording) -> Found:
    """The residual blocks of a network.

    A block is the smallest module in which something is added to its input. One that holds such modules is a block
    itself only if at least as much is added in its own code.
    """
    accepted: dict[int, Candidate] = {}  # by the start of the call
    refused: dict[int, Call] = {}
    for call in sorted(recording.calls(), key=lambda call: call.end):  # what is inside comes first
        start, end = recording.stream_of(call), recording.result_of(call)
        last = end if end is not None else next((value for value in call.outputs if recording.floating[value]), None)
        if start is None or last is None or not any(True for _ in call.module.parameters()):
            continue
        inside, told = (
            [place for place in entries if call.start < place < call.end] for entries in (accepted, refused)
        )
        view = view_of(recording, call)
        added = [recording.born[segment.upper] for segment in additions(view, start, last)]
        own = _not_in(recording, added, [*inside, *told])
        found: BlockSplit | None = None
        if own >= (1 if end is not None else FEWEST) and own >= sum(len(accepted[p].split.branches) for p in inside):
            try:
                found = split(recording, call)
            except Refused:
                is_refused = not inside
        else:
            joined = [recording.born[value] for value in joins(view, start, last)]
            is_refused = not inside and _not_in(recording, joined, told) > 0
        if found is not None or is_refused:
            refused = {place: other for place, other in refused.items() if place not in told}
        if found is not None:
            accepted = {place: other for place, other in accepted.items() if place not in inside}
            accepted[call.start] = Candidate(call, found)
        elif is_refused:
            refused[call.start] = call
    blocks = tuple(accepted[place] for place in sorted(accepted))
    return Found(blocks, _reasons(recording, blocks, refused))


def _not_in(recording: Recording, places: Sequence[int], calls: Sequence[int]) -> int:
    """How many of the places are in none of the calls."""
    spans = [(start, recording.events[start]) for start in calls]
    return sum(
        not any(isinstance(call, Call) and start < place < call.end for start, call in spans) for place in places
    )


def _reasons(recording: Recording, blocks: Sequence[Candidate], refused: Collection[int]) -> dict[nn.Module, str]:
    """Why modules are refused, and why those are that are of the class of a block."""
    modules = {block.call.module for block in blocks}
    kinds = {type(module) for module in modules}
    spans = [(block.call.start, block.call.end) for block in blocks]
    reasons: dict[nn.Module, str] = {}
    for call in recording.calls():
        if call.module in modules or any(start < call.start < end for start, end in spans):
            continue
        if call.start in refused or type(call.module) in kinds:
            reasons.setdefault(call.module, _reason(recording, call))
    return reasons


def _reason(recording: Recording, call: Call) -> str:
    try:
        split(recording, call)
    except Refused as reason:
        return str(reason)
    return "more is added in the modules that it holds"


def chains_of(blocks: Sequence[Candidate], recording: Recording) -> list[list[nn.Module]]:
    """Blocks that follow each other: each is given what the one before has returned, as it is."""
    chain: dict[nn.Module, list[nn.Module]] = {}
    returned: dict[int, nn.Module] = {}
    for block in blocks:
        module = block.call.module
        stream, result = recording.stream_of(block.call), recording.result_of(block.call)
        assert stream is not None
        begins = block.split.before is not None
        before = chain[returned[stream]] if stream in returned and not begins else None
        own = chain.get(module)
        if own is None:
            own = before if before is not None else []
            own.append(module)
        elif before is not None and before is not own:  # it is called again, elsewhere
            before += own
            for member in own:
                chain[member] = before
            own = before
        chain[module] = own
        if result is not None and block.split.after is None:
            returned[result] = module
    return list({id(members): members for members in chain.values()}.values())
