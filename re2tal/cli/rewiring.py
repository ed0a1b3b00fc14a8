"""The command that tries rewiring on a network."""

import json as json_format
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from re2tal.cli.app import Json, app
from re2tal.common.untrusted import readable


@app.command
def rewire(
    name: str | None = None,
    /,
    *,
    known: Annotated[bool, Parameter(name=["--list"])] = False,
    dtype: Literal["float64", "float32"] = "float64",
    repeats: int = 1,
    json: Json = False,
) -> None:
    """Make a network reversible, compare its gradients with those of plain autograd, and say how to use it.

    Weights are random; nothing is downloaded. Networks of timm and transformers need pip install "re2tal[zoo]".

    Parameters
    ----------
    name
        torchvision:swin3d_t, timm:vit_base_patch16_224, transformers:VideoMAEModel, or path/to/file.py:FACTORY, where
        FACTORY() returns a model and an example of its input; the file is executed.
    known
        List networks that are known to work, and do nothing else. Others may work as well.
    dtype
        To compute in; float32 is faster.
    repeats
        Training steps whose median time counts.
    """
    from re2tal.networks.zoo import KNOWN, load, measure, print_rows

    if known:
        print(json_format.dumps(list(KNOWN)) if json else "\n".join(KNOWN))
        return
    if name is None:
        raise ValueError(
            "name a network, such as torchvision:swin3d_t; re2tal rewire --list lists what is known to work"
        )
    if repeats < 1:
        raise ValueError(f"--repeats must be at least 1, got {repeats}")
    import torch

    print(readable(f"building {name} and finding out what it takes"), file=sys.stderr)
    network = load(name)
    print("tracing, rewiring, and training it for a step in each way", file=sys.stderr)
    row = measure(network, dtype=getattr(torch, dtype), repeats=repeats)
    if json:
        print(json_format.dumps(row.as_json()))
    else:
        print_rows([row])
        if row.report is not None:
            print(f"\n{row.report}\n\n{_how_to_use(name)}")
    if row.reason is not None:
        sys.exit(1)


def _how_to_use(name: str) -> str:
    library, _, rest = name.partition(":")
    match library:
        case "torchvision":
            lines = ["from torchvision.models import get_model", f'model = get_model("{rest}", weights="DEFAULT")']
        case "timm":
            lines = ["import timm", f'model = timm.create_model("{rest}", pretrained=True)']
        case "transformers":
            lines = [f"from transformers import {rest}", f"model = {rest}.from_pretrained(PATH)"]
        case _:
            lines = [f"model, example = {rest}()"]
    code = [
        *lines,
        "",
        "from re2tal.reversible import rewire",
        "model = rewire(model, example=example)  # an input of yours; names and values of weights stay",
        "# train as before; unrewire(model) gives the original back",
    ]
    return "\n".join(["How to use it:", *(f"    {line}".rstrip() for line in code)])
