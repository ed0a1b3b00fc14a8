"""What a training step will take, before it is run."""

from re2tal.common.memory_size import MIB, format_memory, parse_memory
from re2tal.experiments.planning.advice import OutOfMemory, explaining_lack_of_memory
from re2tal.experiments.planning.dry_run import NoBatches, example_batch
from re2tal.experiments.planning.memory import available_memory
from re2tal.experiments.planning.plan import PARTS, Estimate, MemoryPlan, make_plan, what_fits
from re2tal.experiments.planning.storage import StoragePlan, plan_storage, resumed_or_planned

__all__ = [
    "MIB",
    "PARTS",
    "Estimate",
    "NoBatches",
    "MemoryPlan",
    "OutOfMemory",
    "StoragePlan",
    "available_memory",
    "example_batch",
    "explaining_lack_of_memory",
    "format_memory",
    "make_plan",
    "parse_memory",
    "plan_storage",
    "resumed_or_planned",
    "what_fits",
]
