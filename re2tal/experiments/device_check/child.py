"""The process of one part: `python -m re2tal.experiments.device_check.child JSON`."""

import importlib
import json
import sys
from pathlib import Path

import torch

from re2tal.common.untrusted import brief
from re2tal.experiments.device_check.context import LACK, PartContext
from re2tal.experiments.device_check.sizes import Sizes
from re2tal.experiments.experiment import prepare_process
from re2tal.experiments.planning.memory import is_lack_of_memory

__all__ = ["LONGEST_ERROR"]

LONGEST_ERROR = 600
"""Characters of what is told of a part that failed."""


def main(spec: str) -> None:
    """Run the part that `spec` names; how it ended is in its file of results."""
    told = json.loads(spec)
    context = PartContext(
        device=torch.device(told["device"]),
        sizes=Sizes.model_validate(told["sizes"]),
        deadline=told["deadline"],
        path=Path(told["path"]),
    )
    module, _, name = told["function"].partition(":")
    try:
        prepare_process(0, device=context.device, deterministic=True)
        getattr(importlib.import_module(module), name)(context, **told["options"])
    except Exception as error:  # whatever a driver or a kernel raises: it is the result
        is_memory = isinstance(error, RuntimeError) and is_lack_of_memory(error)
        context.state = LACK if is_memory else "failed"
        context.error = brief(" ".join(f"{type(error).__name__}: {error}".split()), length=LONGEST_ERROR)
    context.save()


if __name__ == "__main__":
    main(sys.argv[1])
