"""The parts of a check, the most telling first."""

from dataclasses import dataclass, field

__all__ = ["PARTS", "Part"]

_HERE = "re2tal.experiments.device_check"


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


def _exactness(network: str, *, share: float) -> Part:
    function = f"{_HERE}.exactness:check_exactness"
    options = {"network": network}
    return Part(name=f"exactness, {network}", kind="exactness", function=function, options=options, share=share)


def _steps(network: str, *, share: float) -> Part:
    function = f"{_HERE}.steps:measure_steps"
    options = {"network": network}
    return Part(name=f"memory and time, {network}", kind="steps", function=function, options=options, share=share)


PARTS: tuple[Part, ...] = (
    Part(name="machine", kind="machine", function=f"{_HERE}.machine:describe_machine", share=0.1),
    _exactness("Swin-T", share=0.15),
    _steps("Swin-T", share=0.2),
    Part(
        name="longest clip, Swin-T",
        kind="longest",
        function=f"{_HERE}.steps:measure_longest_clip",
        options={"network": "Swin-T"},
        share=0.2,
    ),
    _exactness("SlowFast-101", share=0.12),
    _exactness("ViT-B", share=0.1),
    Part(name="whole steps and planner", kind="planner", function=f"{_HERE}.planner:check_planner", share=0.18),
    Part(name="an epoch of the demo", kind="demo", function=f"{_HERE}.data_parts:run_demo_epoch", share=0.15),
    _steps("SlowFast-101", share=0.15),
    Part(name="decoding", kind="decoding", function=f"{_HERE}.data_parts:measure_decoding", share=0.12),
)
