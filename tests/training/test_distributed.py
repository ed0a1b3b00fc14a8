"""Two processes do what one does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.training import Processes, distributed_processes, load_checkpoint
from tests.processes import in_processes
from tests.training.training_toy import ToyDetector, small_detector, toy_config, toy_trainer
from tests.training.training_worker import work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have worked."""
    folder = tmp_path_factory.mktemp("two")
    in_processes(2, work, str(folder))
    return folder


@pytest.fixture(scope="module")
def seen(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"seen{rank}.pth", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """The weights that one process gives for the same batches."""
    ends = {}
    for kind, make in (("toy", ToyDetector), ("detector", small_detector)):
        trainer = toy_trainer(tmp_path_factory.mktemp(kind), config=toy_config(), make=make)
        trainer.run(None)
        ends[kind] = trainer.model.state_dict()
    return ends


@pytest.mark.parametrize(("run", "kind"), [("weights", "toy"), ("accumulated", "toy"), ("detector", "detector")])
def test_two_processes_give_the_weights_of_one(
    seen: list[dict[str, Any]], alone: dict[str, dict[str, torch.Tensor]], run: str, kind: str
) -> None:
    for name, value in alone[kind].items():
        if name == "seen":  # each process counts its own clips
            continue
        assert torch.equal(seen[0][run][name], seen[1][run][name])
        torch.testing.assert_close(seen[0][run][name], value, rtol=1e-4, atol=1e-5)


def test_processes_agree_when_gradients_travel_in_half_precision(
    seen: list[dict[str, Any]], alone: dict[str, dict[str, torch.Tensor]]
) -> None:
    # Equal to one process only as far as no step is left out: 16 bits overflow on the way sooner.
    for name, value in alone["toy"].items():
        assert torch.isfinite(seen[0]["half"][name]).all()
        torch.testing.assert_close(seen[0]["half"][name], value, rtol=0, atol=0.2 if name != "seen" else 100)
        assert name == "seen" or torch.equal(seen[0]["half"][name], seen[1]["half"][name])


def test_unevenly_shared_results_arrive_in_order_everywhere(seen: list[dict[str, Any]]) -> None:
    assert [part["gathered"] for part in seen] == [[0, 1, 2], [0, 1, 2]]


def test_the_main_process_decides(seen: list[dict[str, Any]]) -> None:
    assert [part["from_main"] for part in seen] == ["said by 0", "said by 0"]


def test_every_process_gets_its_own_random_state_back(seen: list[dict[str, Any]]) -> None:
    assert [part["resumed"] for part in seen] == [True, True]


def test_only_the_main_process_writes(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "plain/metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["step", "step", "evaluation"] * 3


def test_a_checkpoint_of_two_processes_resumes_in_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "plain/checkpoint/epoch_1.pth"
    assert len(load_checkpoint(path)["random_states"]) == 2
    trainer = toy_trainer(folder / "resumed", config=toy_config())
    trainer.resume(path)
    assert "comes from 2 processes, this run has 1" in caplog.text
    assert trainer.next_epoch == 2


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with distributed_processes() as processes:
        assert (processes.rank, processes.world_size, processes.is_main) == (0, 1, True)
        assert processes.gather([1, 2]) == [1, 2]
        assert processes.from_main("x") == "x"
        model = torch.nn.Linear(1, 1)
        assert processes.parallel(model) is model


def test_shares_are_contiguous() -> None:
    assert [list(Processes(rank=rank, world_size=3).share(7)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
