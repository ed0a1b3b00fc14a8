"""Work in several processes of this machine, as torchrun would start them."""

import faulthandler
import os
import socket
import sys
from collections.abc import Callable

import torch
import torch.multiprocessing


def in_processes(world_size: int, work: Callable[..., None], *arguments: object) -> None:
    """Run `work(rank, *arguments)`, a function of a module, in each process; raise what one of them raises."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_run, (world_size, port, work, arguments), nprocs=world_size)


def _run(rank: int, world_size: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    faulthandler.enable()  # where a process was that is ended by a signal
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    work(rank, *arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    # Groups that meshes and sharded parameters still hold have threads, which may abort an interpreter that ends.
    os._exit(0)
