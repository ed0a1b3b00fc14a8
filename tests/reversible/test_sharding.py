"""Networks in shards: two processes under FSDP2 train as one process does with all parameters."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from re2tal.reversible import chains, rewire, set_mode, sharding_units
from tests.processes import in_processes

from .networks import NETWORKS, assert_same_gradients, gradients, loss_of
from .towers import Tower

KINDS = [*NETWORKS, "tower"]
"""The tower's layers are called one by one by code that knows nothing of chains."""


def build(kind: str) -> tuple[nn.Module, Tensor]:
    """In float64, with the input of two processes."""
    torch.manual_seed(0)
    if kind == "tower":
        x = torch.randn(2, 6, 5)
        # Rewired in float32: what it is called with in the test is traced inside of FSDP2's hooks.
        model: nn.Module = rewire(Tower(dropout=0.3), example=x)
    else:
        model, x = NETWORKS[kind]()
    if kind == "slowfast":
        model.eval()  # running statistics follow each process's own clips
    return model.double(), torch.randn(2 * len(x), *x.shape[1:], dtype=torch.float64)


def pass_of(model: nn.Module, x: Tensor, rank: int) -> Tensor:
    """The loss of a process, with its own random numbers."""
    torch.manual_seed(rank)
    return loss_of(model(x.chunk(2)[rank]))


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    seen: dict[str, Any] = {}
    for kind in KINDS:
        model, x = build(kind)
        for unit in list(sharding_units(model)):
            fully_shard(unit, mesh=mesh)
        fully_shard(model, mesh=mesh)
        units = list(sharding_units(model))
        for _ in range(2):  # the second pass accumulates
            loss = pass_of(model, x, rank)
            in_shards = all(isinstance(p, DTensor) for unit in units for p in unit.parameters())
            loss.backward()
        errors = [float(chain.reconstruction_error) for chain in chains(model)]
        whole = {name: p.grad.full_tensor() for name, p in model.named_parameters() if p.grad is not None}
        seen[kind] = {"in_shards": in_shards, "errors": errors}
        torch.save(whole, Path(folder) / f"{kind}_{rank}.pt")
    seen["refused"] = refusal(rank, mesh)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(seen))
    dist.barrier()
    dist.destroy_process_group()


def refusal(rank: int, mesh: Any) -> str:
    """What is said of a linear map in shards of its own in the middle of a chain."""
    model, x = build("mlp")
    fully_shard(model.chain.get_submodule("1.first"), mesh=mesh)
    fully_shard(model, mesh=mesh)
    try:
        pass_of(model, x, rank)
    except ValueError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have worked."""
    folder = tmp_path_factory.mktemp("shards")
    in_processes(2, worker, str(folder))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_half_the_parameters_each_have_the_gradients_of_one(folder: Path, kind: str) -> None:
    model, x = build(kind)
    set_mode(model, "store")
    for _ in range(2):
        (sum(pass_of(model, x, rank) for rank in range(2)) / 2).backward()
    for rank in range(2):
        ours = torch.load(folder / f"{kind}_{rank}.pt", weights_only=True)
        assert_same_gradients(ours, gradients(model), tolerance=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_between_forward_and_backward_parameters_are_in_shards(folder: Path, kind: str) -> None:
    seen = json.loads((folder / "0.json").read_text())[kind]
    assert seen["in_shards"]
    assert seen["errors"] and not any(seen["errors"])


def test_a_unit_inside_of_a_chain_is_an_error_that_names_the_fix(folder: Path) -> None:
    refused = json.loads((folder / "0.json").read_text())["refused"]
    assert "in shards; give fully_shard what re2tal.reversible.sharding_units(model) yields" in refused
