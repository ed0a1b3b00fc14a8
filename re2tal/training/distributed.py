"""One process or many: who this process is, and how the processes share work.

Under torchrun the processes find each other through its environment variables, with NCCL on CUDA and gloo
on the CPU. Without it there is one process, and every function here works the same.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

__all__ = ["LostProcessError", "Processes", "distributed_processes"]

T = TypeVar("T")


class LostProcessError(ValueError):
    """Another process has gone, and work that all of them share cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process and its processes."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of `count` items: contiguous, sizes as even as can be, maybe empty."""
        return range(self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size)

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in the order of their ranks; every process gets all of them."""
        if self.world_size == 1:
            return list(items)
        gathered: list[list[T]] = [[] for _ in range(self.world_size)]
        distributed.all_gather_object(gathered, list(items))
        return [item for part in gathered for item in part]

    def from_main(self, value: T) -> T:
        """The main process's `value`, on every process."""
        if self.world_size == 1:
            return value
        holder = [value]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def largest(self, *values: int) -> list[int]:
        """The largest of every process's first, second ... value, on every process."""
        if self.world_size == 1:
            return list(values)
        found = torch.tensor(values, device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return found.tolist()

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite `tensors` by the main process's."""
        if self.world_size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def parallel(self, model: nn.Module, *, half_gradients: bool = False) -> nn.Module:
        """`model` such that backward averages gradients over the processes; itself where there is one."""
        if self.world_size == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        wrapped = DistributedDataParallel(model, device_ids=ids)
        if half_gradients:
            wrapped.register_comm_hook(None, default_hooks.fp16_compress_hook)
        return wrapped


@contextmanager
def distributed_processes(device_type: Literal["cpu", "cuda"] | None = None) -> Iterator[Processes]:
    """Join the processes torchrun started, or be the only one; leave them at the end.

    Args:
        device_type: where to compute; None: on CUDA if it is there.
    """
    if device_type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "there is no CUDA device that torch can use, got 'cuda'; take 'cpu', or install torch for CUDA"
        )
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device_type != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Processes(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    _join(backend, device)
    processes = Processes(rank=distributed.get_rank(), world_size=distributed.get_world_size(), device=device)
    try:
        yield processes
    except BaseException as error:
        # gloo is left at once, which the others notice; NCCL would wait for them, but ends with the process.
        if backend == "gloo":
            distributed.destroy_process_group()
        if _is_about_others(error):
            raise LostProcessError(
                f"process {processes.rank} of {processes.world_size} stops, because another one has failed or "
                "was killed; it may have said why. Go on with --resume auto"
            ) from error
        error.add_note(f"(in process {processes.rank} of {processes.world_size}, counted from 0)")
        raise
    distributed.destroy_process_group()


def _join(backend: str, device: torch.device) -> None:
    own_store: dict[str, Any] = {}
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT")
    # What torchrun starts again meets its old store, with addresses of processes that are gone, and would call those.
    # The count is of one machine; on several, torchrun has to make new stores (TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1).
    if attempt is not None and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        store, rank, world_size = next(rendezvous("env://"))
        own_store = {"store": distributed.PrefixStore(attempt, store), "rank": rank, "world_size": world_size}
    distributed.init_process_group(backend, device_id=device if device.type == "cuda" else None, **own_store)


def _is_about_others(error: BaseException) -> bool:
    """Whether a collective failed because another process has gone."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
