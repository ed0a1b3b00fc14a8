"""What a training step will take, before it is run."""

from re2tal.experiments.planning.advice import OutOfMemory, explaining_lack_of_memory
from re2tal.experiments.planning.dry_run import NoBatches, example_batch
from re2tal.experiments.planning.memory import MIB, available_memory, format_memory, parse_memory
from re2tal.experiments.planning.plan import PARTS, Estimate, MemoryPlan, make_plan, what_fits

__all__ = [
    "MIB",
    "PARTS",
    "Estimate",
    "NoBatches",
    "OutOfMemory",
    "MemoryPlan",
    "available_memory",
    "example_batch",
    "explaining_lack_of_memory",
    "format_memory",
    "make_plan",
    "parse_memory",
    "what_fits",
]
