"""The command `re2tal plan`."""

import json as json_format
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import ConfigPath, Options, app
from re2tal.common.terminal import print_table

if TYPE_CHECKING:
    from re2tal.experiments.planning import MemoryPlan


@app.command
def plan(
    config: ConfigPath,
    *,
    memory: str | None = None,
    processes: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    device: Literal["cpu", "cuda"] | None = None,
    quick: bool = False,
    json: bool = False,
    cfg_options: Options = None,
) -> None:
    """Tell before training what memory a step will take, of what, and the longest clip and largest batch that fit.

    A step is run dry, on tensors without values, in each training strategy: plain, with checkpointed blocks, and
    reversible. Neither videos nor weights are needed. With backbone.reversible="auto" steps on short clips are timed,
    too, and it is told what would be stored.

    Parameters
    ----------
    memory
        That a process may take, such as 24GiB; by default what is free on the device now.
    processes
        That share a batch.
    device
        That is trained on; by default a GPU if there is one. Figures for a GPU have not been checked against one.
    quick
        Dry-run this config's own training strategy alone, and do not look for what fits.
    json
        Print one line of JSON, memory in MiB, and nothing else.
    """
    import torch

    from re2tal.config import load_config
    from re2tal.experiments.explain import gradient_share_of
    from re2tal.experiments.planning import make_plan, parse_memory, plan_storage
    from re2tal.training import counting

    settings = load_config(config, cfg_options or [])
    with counting("training strategies") as tell:
        made = make_plan(
            settings,
            memory=None if memory is None else parse_memory(memory),
            processes=processes,
            device=None if device is None else torch.device(device),
            quick=quick,
            tell=tell,
        )
    stored = None
    if settings.backbone.reversible == "auto" and not settings.backbone.frozen:
        on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        budget = None if memory is None else parse_memory(memory)
        stored = plan_storage(settings, device=on, memory=budget, processes=processes)
    if json:
        more = {} if stored is None else {"storage": stored.as_json()}
        print(json_format.dumps(made.as_json() | more))
        return
    _print_plan(made)
    if (gradients := gradient_share_of(settings)) is not None:
        print(gradients)
    if stored is not None:
        print(f"auto: {stored}")


def _print_plan(plan: "MemoryPlan") -> None:
    from re2tal.experiments.planning import MIB, PARTS, format_memory

    first = plan.estimates[0]
    rows = [["", *(f"{e.strategy} (this config)" if e.strategy == plan.own else e.strategy for e in plan.estimates)]]
    shown = [part for part in PARTS if any(e.parts[part] >= MIB for e in plan.estimates)]
    for part in shown:
        sizes = [e.parts[part] for e in plan.estimates]
        rows.append([part, *(format_memory(size) if size >= MIB else "" for size in sizes)])
    rows.append(["a step at its fullest", *(format_memory(e.total) for e in plan.estimates)])
    rows.append(
        [f"fits in {format_memory(plan.memory)}", *("yes" if e.total <= plan.memory else "no" for e in plan.estimates)]
    )
    if plan.longest:
        longest = [plan.longest[e.strategy] for e in plan.estimates]
        rows.append(["longest clip that fits", *(f"{e.num_frames} frames" if e else "none" for e in longest)])
        largest = [plan.largest[e.strategy] for e in plan.estimates]
        rows.append(["largest batch that fits", *(f"{e.num_clips} clips" if e else "none" for e in largest)])
    title = f"{plan.name}: {first.num_clips} clip(s) of {first.num_frames} frames in a process, on {plan.device}"
    print_table(rows, title=title, caption="\n".join(f"{part}: {PARTS[part]}" for part in shown))
