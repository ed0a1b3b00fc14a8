"""The loop: going on where it stopped, keeping the best, noticing what is wrong."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from re2tal.common.types import Batch
from re2tal.reversible import ReversibleChain, headrooms, set_headrooms
from re2tal.training import CheckpointError, TrainingError, load_checkpoint
from re2tal.weights import WeightsError
from tests.training.training_toy import ToyBackbone, ToyDetector, toy_config, toy_trainer


class WithDropout(ToyDetector):
    def __init__(self) -> None:
        super().__init__(dropout=0.5)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class Scores:
    """An `evaluate` that returns given scores, draws random numbers, and remembers what it was given."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.models: list[dict[str, Tensor]] = []

    def __call__(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        torch.rand(7)
        self.models.append(weights(model))
        return {"average_mAP": self.scores.pop(0), "mAP@0.5": 0.0}


@pytest.mark.parametrize("amp", ["none", "fp16"])
def test_resuming_at_any_epoch_equals_an_undisturbed_run_bit_for_bit(tmp_path: Path, amp: str) -> None:
    config = toy_config(epochs=4, amp=amp)
    undisturbed = toy_trainer(tmp_path / "a", config=config, make=WithDropout)
    undisturbed.run(None)
    for epoch in range(3):
        resumed = toy_trainer(tmp_path / "b", config=config, make=WithDropout)
        torch.manual_seed(1234)
        resumed.resume(tmp_path / f"a/checkpoint/epoch_{epoch}.pth")
        resumed.run(None)
        assert_same(weights(resumed.model), weights(undisturbed.model))
        assert_same(weights(resumed.ema.module), weights(undisturbed.ema.module))
        assert resumed.scaler.state_dict() == undisturbed.scaler.state_dict()


class ChainedBackbone(ToyBackbone):
    """With reversible chains that hold no parameter."""

    def __init__(self, chains: int) -> None:
        super().__init__()
        self.network = nn.ModuleList(ReversibleChain([nn.Identity()]) for _ in range(chains))


class ChainedDetector(ToyDetector):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = ChainedBackbone(2)


def test_the_fixed_point_formats_of_a_reversible_backbone_are_resumed_too(tmp_path: Path) -> None:
    config = toy_config(epochs=2)
    first = toy_trainer(tmp_path / "a", config=config, make=ChainedDetector)
    set_headrooms(first.model, [8, 12])
    set_headrooms(first.ema.module, [16, 8])
    first.run(None)
    resumed = toy_trainer(tmp_path / "b", config=config, make=ChainedDetector)
    resumed.resume(tmp_path / "a/checkpoint/epoch_0.pth")
    assert [headrooms(model) for model in (resumed.model, resumed.ema.module)] == [[8, 12], [16, 8]]


def test_resuming_with_a_backbone_that_is_not_rewired_is_an_error_that_says_so(tmp_path: Path) -> None:
    def detector(chains: int) -> ToyDetector:
        toy = ToyDetector()
        toy.backbone = ChainedBackbone(chains)
        return toy

    config = toy_config(epochs=2)
    toy_trainer(tmp_path / "a", config=config, make=lambda: detector(2)).run(None)
    plain = toy_trainer(tmp_path / "b", config=config, make=lambda: detector(0))
    with pytest.raises(CheckpointError, match="another backbone: the model has 0 reversible chains.* run began with"):
        plain.resume(tmp_path / "a/checkpoint/epoch_0.pth")


def test_loader_processes_change_nothing(tmp_path: Path) -> None:
    alone = toy_trainer(tmp_path / "a", config=toy_config(), make=WithDropout)
    alone.run(None)
    helped = toy_trainer(tmp_path / "b", config=toy_config(num_workers=2), make=WithDropout)
    helped.run(None)
    assert_same(weights(alone.model), weights(helped.model))


def test_evaluating_does_not_change_training(tmp_path: Path) -> None:
    plain = toy_trainer(tmp_path / "a", config=toy_config(), make=WithDropout)
    plain.run(None)
    evaluated = toy_trainer(tmp_path / "b", config=toy_config(), make=WithDropout)
    evaluated.run(Scores(0.1, 0.2, 0.3))
    assert_same(weights(plain.model), weights(evaluated.model))


def test_accumulated_pieces_give_the_weights_of_whole_batches(tmp_path: Path) -> None:
    whole = toy_trainer(tmp_path / "a", config=toy_config())
    whole.run(None)
    pieces = toy_trainer(tmp_path / "b", config=toy_config(accumulate=4))
    pieces.run(None)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, pieces.model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_steps_equal_a_plain_loop(tmp_path: Path) -> None:
    config = toy_config(epochs=2, clip_grad_norm=0.3)
    trainer = toy_trainer(tmp_path, config=config)
    plain = ToyDetector()
    plain.load_state_dict(trainer.model.state_dict())
    average = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    backbone = list(plain.backbone.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": backbone, "lr": 0.0, "weight_decay": 0.05, "base": 0.02},
            {"params": [plain.head.weight], "lr": 0.0, "weight_decay": 0.05, "base": 0.05},
            {"params": [plain.head.bias], "lr": 0.0, "weight_decay": 0.0, "base": 0.05},
        ]
    )
    step = 0
    for epoch in range(2):
        trainer.loader.set_epoch(epoch)
        for batch in trainer.loader:
            for group in optimizer.param_groups:
                cosine = (1 + math.cos(math.pi * (step - 2) / 2)) / 2
                group["lr"] = group["base"] * (step / 1 if step < 2 else cosine)
            optimizer.zero_grad()
            plain(batch)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
            optimizer.step()
            for name, value in plain.state_dict().items():
                average[name] = 0.5 * average[name] + 0.5 * value
            step += 1
    trainer.run(None)
    torch.testing.assert_close(dict(trainer.model.state_dict()), dict(plain.state_dict()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dict(trainer.ema.module.state_dict()), average, rtol=1e-5, atol=1e-6)


def test_best_holds_the_averaged_weights_of_the_best_epoch(tmp_path: Path) -> None:
    scores = Scores(0.1, 0.7, 0.4)
    trainer = toy_trainer(tmp_path, config=toy_config(), names=["jump", "run"])
    trainer.run(scores)
    best = load_checkpoint(tmp_path / "checkpoint/best.pth")
    assert best["epoch"] == 1
    assert best["metrics"]["average_mAP"] == 0.7
    assert best["class_names"] == ["jump", "run"]
    assert_same(best["weights"], scores.models[1])
    assert "optimizer" not in best


def test_a_resumed_run_does_not_forget_the_best_epoch(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2, cosine_epochs=3)).run(Scores(0.9, 0.2))
    resumed = toy_trainer(tmp_path, config=toy_config())
    resumed.resume(tmp_path / "checkpoint/epoch_1.pth")
    resumed.run(Scores(0.5))
    assert load_checkpoint(tmp_path / "checkpoint/best.pth")["metrics"]["average_mAP"] == 0.9


def test_a_run_stopped_while_evaluating_evaluates_when_resumed(tmp_path: Path) -> None:
    with pytest.raises(IndexError):  # no score left for the last epoch
        toy_trainer(tmp_path, config=toy_config()).run(Scores(0.1, 0.2))
    resumed = toy_trainer(tmp_path, config=toy_config())
    resumed.resume(tmp_path / "checkpoint/epoch_2.pth")
    resumed.run(Scores(0.5))
    best = load_checkpoint(tmp_path / "checkpoint/best.pth")
    assert (best["epoch"], best["metrics"]["average_mAP"]) == (2, 0.5)


def test_only_the_stated_epochs_are_evaluated(tmp_path: Path) -> None:
    config = toy_config(epochs=6, eval_from=1, eval_every=2)
    toy_trainer(tmp_path, config=config).run(Scores(0.1, 0.2, 0.3))
    assert [line["epoch"] for line in records(tmp_path) if line["kind"] == "evaluation"] == [1, 3, 5]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_step_and_evaluation_is_recorded(tmp_path: Path) -> None:
    model = ToyDetector()
    model.backbone = ChainedBackbone(1)
    model.backbone.network[0].chain.reconstruction_error = torch.tensor(1e-6)
    toy_trainer(tmp_path, config=toy_config(epochs=2), make=lambda: model).run(Scores(0.1, 0.2))
    lines = records(tmp_path)
    assert [line["kind"] for line in lines] == ["step", "step", "evaluation"] * 2
    assert [line["step"] for line in lines if line["kind"] == "step"] == [1, 2, 3, 4]
    first = lines[0]
    assert first["learning_rate"] == {"backbone": 0.0, "decay": 0.0, "no_decay": 0.0}
    assert first["reconstruction_error"] == pytest.approx(1e-6)
    assert first["loss"] > 0 and first["gradient_norm"] > 0 and first["clips_per_second"] > 0
    assert lines[2] == {"kind": "evaluation", "epoch": 0, "average_mAP": 0.1, "mAP@0.5": 0.0}


def test_a_resumed_run_records_no_step_twice(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config()).run(Scores(0.1, 0.2, 0.3))
    whole = records(tmp_path)
    resumed = toy_trainer(tmp_path, config=toy_config())
    resumed.resume(tmp_path / "checkpoint/epoch_0.pth")
    resumed.run(Scores(0.2, 0.3))
    assert [(line["epoch"], line.get("step")) for line in records(tmp_path)] == [
        (line["epoch"], line.get("step")) for line in whole
    ]


def test_old_checkpoints_are_removed_if_asked_for(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=4, keep_checkpoints=2)).run(Scores(0.9, 0.2, 0.1, 0.1))
    assert {file.name for file in (tmp_path / "checkpoint").iterdir()} == {"epoch_2.pth", "epoch_3.pth", "best.pth"}


class Broken(ToyDetector):
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": super().forward(batch)["loss"] * torch.tensor(float("nan"))}


def test_a_loss_that_is_no_number_stops_training_and_names_the_videos(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"losses are .*nan.* for video\d, .*lower the learning rate"):
        toy_trainer(tmp_path, config=toy_config(), make=Broken).run(None)


class Exploding(ToyDetector):
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (super().forward(batch)["loss"] * 0).sqrt() + self.head.weight.sum()}


def test_gradients_that_are_no_numbers_leave_the_weights_alone(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(), make=Exploding)
    before = weights(trainer.model)
    with pytest.raises(TrainingError, match="norm of the gradients is nan"):
        trainer.run(None)
    before["seen"] = trainer.model.seen
    assert_same(before, trainer.model.state_dict())


def test_half_precision_leaves_out_steps_of_infinite_gradients(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(epochs=2, amp="fp16"), make=Exploding)
    scale = trainer.scaler.get_scale()
    before = weights(trainer.model)
    trainer.run(None)
    assert trainer.scaler.get_scale() < scale
    assert torch.equal(trainer.model.head.weight, before["head.weight"])
    assert "NaN" not in trainer.folder.metrics.read_text()
    assert records(tmp_path)[0]["gradient_norm"] is None


def test_resuming_with_another_model_lists_names_and_shapes(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2)).run(None)
    other = ToyDetector()
    other.head = nn.Linear(4, 7)
    other.extra = nn.Linear(2, 2)
    with pytest.raises(WeightsError) as caught:
        toy_trainer(tmp_path, config=toy_config(), make=lambda: other).resume(tmp_path / "checkpoint/epoch_1.pth")
    assert "head.weight is (1, 4) in the file, (7, 4) in the model" in str(caught.value)
    assert "extra.weight (2, 2)" in str(caught.value)


def test_best_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2)).run(Scores(0.5, 0.4))
    with pytest.raises(CheckpointError, match="weights only; resume from an epoch_<n>.pth"):
        toy_trainer(tmp_path, config=toy_config()).resume(tmp_path / "checkpoint/best.pth")


def test_resuming_with_other_frozen_parameters_is_explained(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2)).run(None)
    frozen = ToyDetector()
    frozen.backbone.requires_grad_(False)
    with pytest.raises(CheckpointError, match="trained other parameters .*freeze the same ones"):
        toy_trainer(tmp_path, config=toy_config(), make=lambda: frozen).resume(tmp_path / "checkpoint/epoch_1.pth")


def test_resuming_a_finished_run_says_how_to_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2)).run(None)
    finished = toy_trainer(tmp_path, config=toy_config(epochs=2))
    finished.resume(tmp_path / "checkpoint/epoch_1.pth")
    assert "raise training.epochs to go on" in caplog.text
