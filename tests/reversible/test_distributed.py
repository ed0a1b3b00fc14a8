"""Two processes under DistributedDataParallel train as one process does."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from re2tal.reversible import Mode

from .networks import MlpNet, assert_same_gradients, gradients, loss_of


def build() -> tuple[MlpNet, Tensor]:
    torch.manual_seed(0)
    return MlpNet().double(), torch.randn(4, 5, dtype=torch.float64)


def worker(rank: int, port: int, find_unused: bool, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model, x = build()
    wrapped = DistributedDataParallel(model, find_unused_parameters=find_unused)
    for _ in range(2):  # the second pass accumulates
        loss_of(wrapped(x[2 * rank : 2 * rank + 2])).backward()
    torch.save(gradients(model), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:find_unused_parameters=True was specified")
@pytest.mark.parametrize("find_unused", [False, True])
def test_two_processes_equal_one(find_unused: bool, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, find_unused, str(tmp_path)), nprocs=2)
    model, x = build()
    mode: Mode = "store"
    model.chain.mode = mode
    for _ in range(2):
        (sum(loss_of(model(half)) for half in x.split(2)) / 2).backward()
    for rank in range(2):
        ours = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_same_gradients(ours, gradients(model), tolerance=1e-10)
