"""Two processes on a CPU: data parallel, fully sharded, sharded optimizers, and Lightning on top."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from re2tal.reversible import sharding_units
from working_with.judging import Case
from working_with.networks import Batch
from working_with.steps import Recording, Setting, sgd, state_of, train
from working_with.trainers import lightning_fit


def _own_loss(setting: Setting) -> Any:
    """Each process has its own half of the batch."""
    rank = dist.get_rank()

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        return setting.network.loss(model, {key: value[rank::2] for key, value in batch.items()})

    return loss


def _data_parallel(setting: Setting, *, accumulate: bool = False, **options: Any) -> Recording:
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(setting.rewired(setting.model()), **options)
    return train(setting, model, loss=_own_loss(setting), micro_batches=2 if accumulate else 1)


def _sharded_optimizer(setting: Setting) -> Recording:
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(setting.rewired(setting.model()))
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9)
    return train(setting, model, loss=_own_loss(setting), optimizer=optimizer)


def _fully_sharded(setting: Setting, *, precision: bool = False) -> Recording:
    """FSDP2: what `sharding_units` yields, or the blocks of a network that is not rewired, and then the network."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model = setting.rewired(setting.model())
    mesh = dist.init_device_mesh("cpu", (2,))
    policy = {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16)} if precision else {}
    for unit in list(sharding_units(model)) or setting.network.blocks(model):
        fully_shard(unit, mesh=mesh, **policy)
    fully_shard(model, mesh=mesh, **policy)
    setting.recording.saved_bytes = 0  # those of parameters that are gathered cannot be told from others
    return train(setting, model, loss=_own_loss(setting))


def _fully_sharded_1(setting: Setting) -> Recording:
    """FSDP1, which wraps blocks; only what has become of parameters is compared."""
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    model = setting.rewired(setting.model())
    policy = ModuleWrapPolicy({type(block) for block in setting.network.blocks(model)})
    whole = FullyShardedDataParallel(
        model, auto_wrap_policy=policy, device_id=torch.device("cpu"), use_orig_params=True
    )
    loss, optimizer = _own_loss(setting), sgd(whole)
    with FullyShardedDataParallel.summon_full_params(whole):
        before = state_of(whole)
    for step in range(2):
        optimizer.zero_grad()
        with setting.counted(whole):
            value = loss(whole, setting.batch(step))
        value.backward()
        optimizer.step()
        setting.recording.put("losses", str(step), value)
    with FullyShardedDataParallel.summon_full_params(whole):
        setting.recording.put_changes(before, whole)
    return setting.recording


def _lightning(setting: Setting, *, precision: str, strategy: str) -> Recording:
    """Lightning in two processes that `torchrun` has started."""
    return lightning_fit(setting, precision=precision, strategy=strategy, devices=2)


def as_worker(rank: int, port: int) -> None:
    """Set what `torchrun` sets for each of its processes."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "works_with",
        "GLOO_SOCKET_IFNAME": "lo",
    }


def grouped(case: Case) -> Case:
    """The case with a process group of its own around each run, so that a failed run leaves nothing to the next."""

    def scenario(setting: Setting) -> Recording:
        folder = Path(os.environ.get("WORKS_WITH_FOLDER", tempfile.gettempdir()))
        store = dist.FileStore(str(folder / setting.kind), 2)
        rank = int(os.environ["RANK"])
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
        try:
            return case.run(setting)
        finally:
            dist.destroy_process_group()

    return Case(case.tool, case.library, case.network, scenario, case.dtype, case.tolerance, 2, case.left_out)


def cases() -> list[Case]:
    """One for each way and network."""
    found = []
    for network in ("ViT", "Swin3d", "GPT-2"):
        found += [
            Case("DDP", "torch", network, _data_parallel, processes=2),
            Case("FSDP2", "torch", network, _fully_sharded, processes=2),
            Case("FSDP1", "torch", network, _fully_sharded_1, processes=2),
        ]
    ways: dict[str, dict[str, Any]] = {
        "find_unused_parameters": {"find_unused_parameters": True},
        "static_graph": {"static_graph": True},
        "gradient accumulation": {"accumulate": True},
    }
    for way, options in ways.items():
        found.append(Case(f"DDP, {way}", "torch", "ViT", partial(_data_parallel, **options), processes=2))
    half: dict[str, Any] = {"dtype": torch.float32, "tolerance": 0.2, "processes": 2}
    found += [
        Case("FSDP2, bfloat16 parameters", "torch", "ViT", partial(_fully_sharded, precision=True), **half),
        Case("ZeroRedundancyOptimizer", "torch", "ViT", _sharded_optimizer, processes=2),
    ]
    for precision, options in (("64-true", {"processes": 2}), ("bf16-true", half), ("bf16-mixed", half)):
        run = partial(_lightning, precision=precision, strategy="ddp")
        found.append(Case(f"Lightning, two processes, {precision}", "lightning", "ViT", run, **options))
    return found
