"""Steps that go wrong: step, videos and module are told, a file is kept, and all processes decide alike."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from re2tal.reversible import Origin, ReversibleChain, first_non_finite
from re2tal.training import EMA, Processes, Trainer, TrainingError, distributed_processes, load_anomaly
from re2tal.training.random_state import restore
from tests.processes import in_processes
from tests.training.training_toy import ToyBackbone, ToyDetector, toy_config, toy_trainer


class Spoiler(nn.Module):
    """Spoils its result in the given calls (counted from 0), or its gradient."""

    def __init__(self, *calls: int, gradient: bool = False) -> None:
        super().__init__()
        self.calls, self.gradient = calls, gradient
        self.register_buffer("mean", torch.zeros(()))
        self.count = -1

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.count += 1
        is_bad = self.count in self.calls
        y = x + (0 * x).sqrt() * 0 if is_bad and self.gradient else x * (float("inf") if is_bad else 1.0)
        self.mean.lerp_(y.detach().float().mean(), 0.1)
        return y


class Spoiled(ToyDetector):
    """A toy with a spoiler behind its backbone."""

    def __init__(self, *calls: int, gradient: bool = False) -> None:
        super().__init__()
        self.dropout = Spoiler(*calls, gradient=gradient)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def batches(trainer: Trainer, epochs: int = 1) -> list[Any]:
    found = []
    for epoch in range(epochs):
        trainer.loader.set_epoch(epoch)
        found += [[batch] for batch in trainer.loader]
    return found


def test_a_bad_loss_names_step_videos_and_module_and_its_file_shows_it_again(tmp_path: Path) -> None:
    # Call 2 is the second step, and 3 is when it is looked into.
    trainer = toy_trainer(tmp_path, config=toy_config(), make=lambda: Spoiled(1, 2))
    with pytest.raises(TrainingError) as caught:
        trainer.run(None)
    message = str(caught.value)
    path = tmp_path / "faults/step_000002.pth"
    content, batch = load_anomaly(path)
    assert f"step 2: the losses are {{'loss': nan}} for {', '.join(batch.video_ids)}; dropout is the first" in message
    assert str(path) in message and "training.on_non_finite=skip" in message

    again = Spoiled(0)
    again.load_state_dict(content["weights"])
    restore(content["random_state"], device=torch.device("cpu"))
    origin = first_non_finite(again, lambda: again(batch)["loss"])
    assert origin is not None and (origin.kind, origin.place) == ("output", "dropout")
    assert content["origin"] | {"largest": 0.0} == {"kind": "output", "place": "dropout", "detail": "", "largest": 0.0}
    assert content["origin"]["largest"] == pytest.approx(origin.largest)


def test_the_file_of_a_bad_step_has_the_pixels_that_the_network_saw(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(), make=lambda: Spoiled(0, 1))
    [[batch], *_] = batches(trainer)
    with pytest.raises(TrainingError):
        trainer.step([replace(batch, changes=(torch.bitwise_not,) * len(batch))])
    _, saved = load_anomaly(tmp_path / "faults/step_000001.pth")
    assert torch.equal(saved.frames, 255 - batch.frames) and saved.changes == ()


def test_a_bad_gradient_names_the_module_and_the_operation(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(), make=lambda: Spoiled(0, 1, gradient=True))
    with pytest.raises(TrainingError, match=r"norm of the gradients is nan for video.*; dropout is .*SqrtBackward0"):
        trainer.run(None)


def test_a_bad_video_is_named_among_the_pieces_of_a_step(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(accumulate=4), make=lambda: Spoiled(2, 4))
    (pieces, *_) = [list(trainer.loader)[:4]]
    with pytest.raises(TrainingError, match=f"for {pieces[2].video_ids[0]}; dropout is the first"):
        trainer.step(pieces)


def test_what_does_not_happen_again_is_told_so(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(), make=lambda: Spoiled(0))
    with pytest.raises(TrainingError, match="finite when it is computed again, so some kernel does not repeat"):
        trainer.run(None)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_step_that_is_left_out_leaves_no_trace(
    tmp_path: Path, gradient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = toy_config(on_non_finite="skip")
    trainer = toy_trainer(tmp_path, config=config, make=lambda: Spoiled(1, 2, gradient=gradient))
    first, bad, last = batches(trainer, 2)[:3]
    for number, pieces in enumerate((first, bad, last)):
        trainer.schedule.set_step(number)
        trainer.step(pieces)
    plain = toy_trainer(tmp_path / "plain", config=config, make=Spoiled)
    for number, pieces in ((0, first), (2, last)):
        plain.schedule.set_step(number)
        plain.step(pieces)
    torch.testing.assert_close(weights(trainer), weights(plain), rtol=0, atol=0)
    torch.testing.assert_close(
        dict(trainer.ema.module.state_dict()), dict(plain.ema.module.state_dict()), rtol=0, atol=0
    )
    assert "step 2: " in caplog.text and "the step is left out (1 in a row)" in caplog.text


def test_too_many_in_a_row_stop_and_a_good_step_between_starts_the_count_again(tmp_path: Path) -> None:
    # Every bad step takes two calls: itself, and when it is looked into.
    config = toy_config(on_non_finite="skip", max_skips=2)
    alternating = toy_trainer(tmp_path / "a", config=config, make=lambda: Spoiled(0, 1, 2, 3, 5, 6, 7, 8))
    alternating.run(None)
    always = toy_trainer(tmp_path / "b", config=config, make=lambda: Spoiled(*range(100)))
    with pytest.raises(TrainingError, match="step 3: .*3 steps in a row were like this, more than training.max_skips"):
        always.run(None)


def test_only_the_newest_files_stay(tmp_path: Path) -> None:
    config = toy_config(on_non_finite="skip")
    toy_trainer(tmp_path, config=config, make=lambda: Spoiled(*range(100))).run(None)
    assert sorted(file.name for file in (tmp_path / "faults").iterdir()) == [f"step_00000{n}.pth" for n in (4, 5, 6)]


def test_a_parameter_that_is_no_number_ends_the_training_even_where_steps_are_left_out(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(on_non_finite="skip"))
    with torch.no_grad():
        trainer.model.head.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="head.bias was not finite before the step.*from a checkpoint before"):
        trainer.run(None)


class Vertical(ToyDetector):
    """The gradient of its root is infinite, whatever it is scaled by."""

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": (super().forward(batch)["loss"] * 0).sqrt() + self.head.weight.sum()}


def test_half_precision_looks_for_its_scale_and_a_scale_that_collapses_is_a_fault(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(epochs=20, amp="fp16"), make=Vertical)
    with pytest.raises(
        TrainingError, match=r"step 18: .*norm of the gradients is (nan|inf).*SqrtBackward0.*amp to bf16"
    ):
        trainer.run(None)
    assert trainer.scaler.get_scale() == 0.5


def test_a_loss_that_is_left_out_does_not_lower_the_scale(tmp_path: Path) -> None:
    config = toy_config(amp="fp16", on_non_finite="skip")
    trainer = toy_trainer(tmp_path, config=config, make=lambda: Spoiled(1, 2))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)  # low enough for every good step
    trainer.run(None)
    assert trainer.scaler.get_scale() == 64
    assert all(torch.isfinite(value).all() for value in weights(trainer).values())


def test_losses_of_steps_that_were_left_out_are_not_in_the_means(tmp_path: Path) -> None:
    config = toy_config(epochs=1, warmup_epochs=0, on_non_finite="skip", log_every=2)
    toy_trainer(tmp_path, config=config, make=lambda: Spoiled(1, 2)).run(None)
    (record,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert record["loss"] > 0 and record["gradient_norm"] > 0


# Reversible backbones


class Chained(ToyDetector):
    """With a reversible chain in its backbone."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        backbone: Any = ToyBackbone()
        backbone.norm = ReversibleChain(branches)
        self.backbone = backbone


class Drawing(nn.Module):
    """Draws from a generator that is not torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return x * random.random()


def test_streams_that_do_not_come_back_are_warned_about_once_with_chain_and_module(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make: Callable[[], nn.Module] = lambda: Chained(nn.Tanh(), nn.Sequential(nn.Linear(4, 4), Drawing()))  # noqa: E731
    toy_trainer(tmp_path, config=toy_config(), make=make).run(None)
    (told,) = [record.getMessage() for record in caplog.records if "recovered streams" in record.getMessage()]
    assert "step 1: recovered streams of backbone.norm.0 to backbone.norm.1 are off by" in told
    assert "backbone.norm.1.1 gives another result when it is computed again" in told


def test_streams_that_no_grid_holds_end_the_training_with_a_file(tmp_path: Path) -> None:
    def make() -> nn.Module:
        detector = Chained(nn.Linear(4, 4))
        with torch.no_grad():
            detector.backbone.norm.get_submodule("0").weight.fill_(1e30)
        return detector

    with pytest.raises(TrainingError, match=r"step 1, video.*streams grow .*the state is in .*step_000001.pth"):
        toy_trainer(tmp_path, config=toy_config(), make=make).run(None)


# Several processes


def work(rank: int, folder: str) -> None:
    with distributed_processes() as processes:
        seen = {"skip": trained(Path(folder) / "skip", processes), "stop": stopped(Path(folder) / "stop", processes)}
        torch.save(seen, Path(folder) / f"seen{rank}.pth")


def on_second(processes: Processes) -> nn.Module:
    """Its second step is bad on the second process alone."""
    return Spoiled(*((1, 2) if processes.rank else ()))


def trained(folder: Path, processes: Processes) -> dict[str, Tensor]:
    trainer = toy_trainer(
        folder, config=toy_config(on_non_finite="skip"), processes=processes, make=lambda: on_second(processes)
    )
    trainer.run(None)
    assert isinstance(trainer.ema, EMA)
    return {name: value for name, value in weights(trainer).items() if "dropout" not in name}


def stopped(folder: Path, processes: Processes) -> str:
    try:
        toy_trainer(folder, config=toy_config(), processes=processes, make=lambda: on_second(processes)).run(None)
    except TrainingError as error:
        return str(error)
    return "not stopped"


def test_all_processes_leave_out_a_step_that_is_bad_on_one_of_them(tmp_path: Path) -> None:
    in_processes(2, work, str(tmp_path))
    first, second = (torch.load(tmp_path / f"seen{rank}.pth", weights_only=True) for rank in range(2))
    torch.testing.assert_close(first["skip"], second["skip"], rtol=0, atol=0)
    assert all(torch.isfinite(value).all() for value in first["skip"].values())
    assert first["stop"] == second["stop"]
    assert "step 2: the losses are" in first["stop"] and "dropout is the first" in first["stop"]
    assert [file.name for file in (tmp_path / "stop/faults").iterdir()] == ["step_000002_rank1.pth"]


def test_a_bad_input_is_not_answered_with_other_learning_rates(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config())
    advice = trainer.anomalies._advice(Origin("input", "input"))
    assert "these videos" in advice and "learning rates" not in advice
    assert "learning rates" in trainer.anomalies._advice(Origin("output", "backbone"))
