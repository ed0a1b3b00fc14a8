"""Two processes under DistributedDataParallel train as one process does."""

import json
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from re2tal.reversible.observers import observed_by
from tests.processes import in_processes

from .networks import MlpNet, assert_same_gradients, gradients, loss_of
from .test_nodes import Noted


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


def order_of(rank: int, folder: str) -> None:
    """What happens in the backward pass of each of two processes, in buckets of about one parameter."""
    dist.init_process_group("gloo")
    model, x = build()
    events: list[str] = []
    names = {parameter: name for name, parameter in model.named_parameters()}
    wrapped = DistributedDataParallel(model, bucket_cap_mb=1e-4)

    def sent(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        events.extend(names[parameter] for parameter in bucket.parameters())
        return default_hooks.allreduce_hook(None, bucket)

    wrapped.register_comm_hook(None, sent)
    for _ in range(2):  # buckets are made anew by the order in the first pass
        loss = loss_of(wrapped(x[2 * rank : 2 * rank + 2]))
        events.clear()
        with observed_by(Noted(model, events)):
            loss.backward()
    (Path(folder) / f"{rank}.json").write_text(json.dumps(events))
    dist.barrier()
    dist.destroy_process_group()


def test_gradients_of_a_block_are_exchanged_before_the_block_before_it_is_computed_again(tmp_path: Path) -> None:
    in_processes(2, order_of, str(tmp_path))
    for file in sorted(tmp_path.iterdir()):
        events = json.loads(file.read_text())
        computed = [events.index(f"branch {place}") for place in (3, 2, 1, 0)]
        for place, before in zip((3, 2, 1), computed[1:], strict=True):
            of_block = [n for n, event in enumerate(events) if event.startswith(f"chain.{place}.")]
            assert len(of_block) == 6
            assert max(of_block) < before
