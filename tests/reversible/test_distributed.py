"""Two processes under DistributedDataParallel train as one process does."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from tests.processes import in_processes

from .networks import MlpNet, assert_same_gradients, gradients, loss_of


def build() -> tuple[MlpNet, Tensor]:
    torch.manual_seed(0)
    return MlpNet().double(), torch.randn(4, 5, dtype=torch.float64)


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo")
    for find_unused in (False, True):
        model, x = build()
        wrapped = DistributedDataParallel(model, find_unused_parameters=find_unused)
        for _ in range(2):  # the second pass accumulates
            loss_of(wrapped(x[2 * rank : 2 * rank + 2])).backward()
        torch.save(gradients(model), Path(folder) / f"{rank}_{find_unused}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_equal_one_with_and_without_search_for_unused_parameters(tmp_path: Path) -> None:
    in_processes(2, worker, str(tmp_path))
    model, x = build()
    model.chain.mode = "store"
    for _ in range(2):
        (sum(loss_of(model(half)) for half in x.split(2)) / 2).backward()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    for file in files:
        assert_same_gradients(torch.load(file, weights_only=True), gradients(model), tolerance=1e-10)
