"""The parts of a check, the most telling first."""

from dataclasses import dataclass, field

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part, which runs in a process of its own."""

    name: str
    kind: str
    """What its results are, for tables and the verdict."""
    function: str
    """`module:function`, which takes a `PartContext` and the options."""
    options: dict[str, str] = field(default_factory=dict)
    share: float
    """Of the check's time that it may take at most; together they are more than all, since most need less."""


def _part(name: str, kind: str, function: str, share: float, *, network: str | None = None) -> Part:
    """A part of this package's modules, of a network if it is of one."""
    if network is not None:
        name = f"{name}, {network}"
    options = {} if network is None else {"network": network}
    return Part(
        name=name, kind=kind, function=f"re2tal.experiments.device_check.{function}", options=options, share=share
    )


PARTS: tuple[Part, ...] = (
    _part("machine", "machine", "machine:describe_machine", 0.1),
    _part("exactness", "exactness", "exactness:check_exactness", 0.15, network="Swin-T"),
    _part("memory and time", "steps", "steps:measure_steps", 0.2, network="Swin-T"),
    _part("longest clip", "longest", "steps:measure_longest_clip", 0.2, network="Swin-T"),
    _part("exactness", "exactness", "exactness:check_exactness", 0.12, network="SlowFast-101"),
    _part("exactness", "exactness", "exactness:check_exactness", 0.1, network="ViT-B"),
    _part("whole steps and planner", "planner", "planner:check_planner", 0.18),
    _part("an epoch of the demo", "demo", "data_parts:run_demo_epoch", 0.15),
    _part("memory and time", "steps", "steps:measure_steps", 0.15, network="SlowFast-101"),
    _part("decoding", "decoding", "data_parts:measure_decoding", 0.12),
)
