"""What every process of test_distributed.py does; it writes what it saw to a file."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from re2tal.training import Processes, distributed_processes
from tests.training.training_toy import ToyDetector, small_detector, toy_config, toy_trainer


def work(rank: int, folder: str) -> None:
    with distributed_processes() as processes:
        seen = {
            "rank": processes.rank,
            "gathered": processes.gather([0, 1, 2] if rank == 0 else []),
            "from_main": processes.from_main(f"said by {rank}"),
            "weights": train(Path(folder) / "plain", processes),
            "accumulated": train(Path(folder) / "accumulated", processes, accumulate=2),
            "half": train(Path(folder) / "half", processes, amp="fp16"),
            "detector": train(Path(folder) / "detector", processes, small_detector),
            "resumed": resume(Path(folder) / "dropout", processes),
        }
        torch.save(seen, Path(folder) / f"seen{rank}.pth")


def train(
    folder: Path, processes: Processes, make: Callable[[], nn.Module] = ToyDetector, **changes: object
) -> dict[str, torch.Tensor]:
    trainer = toy_trainer(folder, config=toy_config(**changes), processes=processes, make=make)
    trainer.run(lambda model: {"average_mAP": 0.5})
    return trainer.model.state_dict()


def resume(folder: Path, processes: Processes) -> bool:
    """Whether a resumed run ends like an undisturbed one when every process drops out other features."""
    ends = []
    for is_resumed in (False, True):
        trainer = toy_trainer(folder, config=toy_config(), make=lambda: ToyDetector(dropout=0.5), processes=processes)
        torch.manual_seed(processes.rank + 100 * is_resumed)
        if is_resumed:
            trainer.resume(folder / "checkpoint/epoch_0.pth")
        trainer.run(None)
        ends.append(trainer.model.state_dict())
    return all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
