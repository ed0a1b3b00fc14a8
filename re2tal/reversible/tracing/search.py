"""Which modules of a network are residual blocks, and which of them follow each other."""

from __future__ import annotations

from collections.abc import Sequence
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
    refused: dict[int, tuple[Call, str]] = {}
    for call in sorted(recording.calls(), key=lambda call: call.end):  # what is inside comes first
        if not any(True for _ in call.module.parameters()):
            continue
        inside = [start for start in accepted if call.start < start < call.end]
        told = [start for start in refused if call.start < start < call.end]
        start = recording.stream_of(call)
        ends = [value for value in call.outputs if recording.floating[value]]
        if start is None or not ends:
            continue
        end = recording.result_of(call)
        view = view_of(recording, call)
        added = additions(view, start, end if end is not None else ends[0])
        own = _not_in(recording, [recording.born[segment.upper] for segment in added], [*inside, *told])
        enough = 1 if end is not None else FEWEST
        if own >= enough and own >= sum(len(accepted[place].split.branches) for place in inside):
            try:
                candidate = Candidate(call, split(recording, call))
            except Refused as reason:
                if not inside:
                    refused = {place: entry for place, entry in refused.items() if place not in told}
                    refused[call.start] = call, str(reason)
                continue
            accepted = {place: entry for place, entry in accepted.items() if place not in inside}
            refused = {place: entry for place, entry in refused.items() if place not in told}
            accepted[call.start] = candidate
        elif not inside and _not_in(recording, [recording.born[v] for v in joins(view, start, ends[0])], told):
            refused = {place: entry for place, entry in refused.items() if place not in told}
            refused[call.start] = call, _reason(recording, call)
    blocks = tuple(accepted[place] for place in sorted(accepted))
    return Found(blocks, _reasons(recording, blocks, [call for call, _ in refused.values()]))


def _not_in(recording: Recording, places: Sequence[int], calls: Sequence[int]) -> int:
    """How many of the places are in none of the calls."""
    spans = [(start, recording.events[start]) for start in calls]
    return sum(
        not any(isinstance(call, Call) and start < place < call.end for start, call in spans) for place in places
    )


def _reasons(recording: Recording, blocks: Sequence[Candidate], refused: Sequence[Call]) -> dict[nn.Module, str]:
    """Why modules are refused, and why those are that are of the class of a block."""
    modules = {block.call.module for block in blocks}
    kinds = {type(module) for module in modules}
    spans = [(block.call.start, block.call.end) for block in blocks]
    reasons: dict[nn.Module, str] = {}
    starts = {call.start for call in refused}
    for call in recording.calls():
        if call.module in modules or any(start < call.start < end for start, end in spans):
            continue
        if call.start in starts or type(call.module) in kinds:
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
