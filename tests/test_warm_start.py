"""A run that starts from a trained detector knows what that knew, of every class that both have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from re2tal.common.extension import extension
from re2tal.config import ExperimentConfig, load_config, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.experiments import experiment
from re2tal.experiments.finetuning import ClipsConfig, ClipSource, FinetuneConfig
from re2tal.experiments.warm_start import class_axes, compare_classes, start_from_detector, with_classes
from re2tal.networks.detector import Detector
from re2tal.networks.heads import HeadConfig, HeadSettings, TridentHeadConfig
from re2tal.training import CheckpointError, Processes, RunFolder, TrainingConfig, load_checkpoint, save_checkpoint
from re2tal.weights import WeightsError
from tests.tiny_experiment import make_tiny_experiment

OLD = ("circle", "flutter", "jump")
CENTRE_HEAD = Path(__file__).parents[1] / "examples" / "head" / "centre_head.py"
SMALL = ["pyramid.channels=16", "pyramid.max_steps=32", "data.sampling.num_steps=32"]


def small(head: str, folder: Path) -> ExperimentConfig:
    config = override(demo(data=folder, work_dir=folder), SMALL)
    if head == "own":
        config = config.model_copy(update={"head": extension(f"{CENTRE_HEAD}:CentreHeadConfig", num_convs=1)})
    if head == "trident":
        config = config.model_copy(update={"head": TridentHeadConfig(num_convs=1)})
    return config


def trained(config: ExperimentConfig, path: Path, *, class_names: Sequence[str] = OLD) -> Detector:
    """A checkpoint of a detector with weights that no fresh one has."""
    torch.manual_seed(0)
    model = build_detector(config, num_classes=len(class_names))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    about = experiment.describe_run(config, class_names)
    save_checkpoint(path, {**about, "weights": model.state_dict(), "epoch": 0, "coefficients": (0.0, 1.0)})
    return model.eval()


def started(
    config: ExperimentConfig, path: Path, class_names: tuple[str, ...], **renamed: str
) -> tuple[Detector, dict[str, Any]]:
    torch.manual_seed(1)
    training = config.training.model_copy(update={"start_from": path, "start_from_classes": renamed})
    model = build_detector(config, num_classes=len(class_names))
    told = start_from_detector(model, config.model_copy(update={"training": training}), class_names=class_names)
    return model.eval(), told


def logits(model: Detector) -> Tensor:
    """(B, P, K) of random frames."""
    frames = torch.randint(0, 256, (2, 3, 32, 32, 32), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    with torch.no_grad():
        levels = model.pyramid(model.backbone(frames, 32), torch.ones(2, 32, dtype=torch.bool))
        outputs: Any = model.head(*levels)
    found = getattr(outputs, "logits", None)
    return outputs.heat if found is None else found


@pytest.mark.parametrize("head", ["built in", "trident", "own"])
@pytest.mark.parametrize(
    ("new", "renamed", "sources"),
    [
        (("circle", "flutter", "jump"), {}, (0, 1, 2)),
        (("jump", "circle", "flutter"), {}, (2, 0, 1)),
        (("circle", "flutter", "jump", "pulse"), {}, (0, 1, 2, None)),
        (("a", "circle", "b", "flutter", "jump"), {}, (None, 0, None, 1, 2)),
        (("circle", "jump"), {}, (0, 2)),
        (("flutter", "leap", "ring"), {"jump": "leap", "circle": "ring"}, (1, 2, 0)),
        (("circle", "flutter", "jump"), {"circle": "jump", "jump": "circle"}, (2, 1, 0)),
        (("leap", "new"), {"jump": "leap"}, (2, None)),
    ],
)
def test_logits_of_kept_classes_are_equal_to_the_bit(
    tmp_path: Path, head: str, new: tuple[str, ...], renamed: dict[str, str], sources: tuple[int | None, ...]
) -> None:
    config = small(head, tmp_path)
    before = logits(trained(config, tmp_path / "old.pth"))
    model, told = started(config, tmp_path / "old.pth", new, **renamed)
    after = logits(model)
    for place, source in enumerate(sources):
        if source is not None:
            assert torch.equal(after[..., place], before[..., source]), new[place]
    assert told["kept"] == [name for name, source in zip(new, sources, strict=True) if source is not None]
    assert told["added"] == [name for name, source in zip(new, sources, strict=True) if source is None]


def test_new_classes_begin_as_in_a_fresh_head(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    trained(config, tmp_path / "old.pth")
    model, _ = started(config, tmp_path / "old.pth", (*OLD, "pulse"))
    torch.manual_seed(1)
    fresh = build_detector(config, num_classes=4)
    assert torch.equal(model.head.cls_head.weight[3], fresh.head.cls_head.weight[3])
    torch.testing.assert_close(model.head.cls_head.bias[3].sigmoid(), torch.tensor(0.01))


def test_all_that_is_not_of_classes_is_the_checkpoints(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    old = trained(config, tmp_path / "old.pth").state_dict()
    model, _ = started(config, tmp_path / "old.pth", ("pulse", *OLD))
    other = [
        name
        for name, value in model.state_dict().items()
        if value.shape != old[name].shape or not torch.equal(value, old[name])
    ]
    assert set(other) == {"head.cls_head.weight", "head.cls_head.bias"}


@pytest.mark.parametrize("option", ["pyramid.arch=(1,1,3)", "pyramid.channels=32", "head.num_convs=2"])
def test_other_levels_and_sizes_are_refused_by_name(tmp_path: Path, option: str) -> None:
    config = small("built in", tmp_path)
    trained(config, tmp_path / "old.pth")
    with pytest.raises(WeightsError) as error:
        started(override(config, [option]), tmp_path / "old.pth", (*OLD, "pulse"))
    assert option.partition("=")[0] in str(error.value)
    assert "init --start-from" in str(error.value)
    assert len(str(error.value)) < 4000


def test_a_network_that_is_not_rewired_is_refused(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    trained(config, tmp_path / "old.pth")
    with pytest.raises(WeightsError, match="reversible"):
        started(override(config, ["backbone.reversible=False"]), tmp_path / "old.pth", OLD)


def test_other_coefficients_are_refused(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    trained(config, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="backbone.alpha=0, backbone.beta=1"):
        started(override(config, ["backbone.alpha=0.75", "backbone.beta=0.25"]), tmp_path / "old.pth", OLD)


def test_a_checkpoint_without_names_takes_those_of_the_data(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    before = logits(trained(config, tmp_path / "old.pth"))
    content = load_checkpoint(tmp_path / "old.pth")
    save_checkpoint(tmp_path / "old.pth", content | {"class_names": None})
    assert torch.equal(logits(started(config, tmp_path / "old.pth", ("x", "y", "z"))[0]), before)
    with pytest.raises(CheckpointError, match="does not name its classes"):
        started(config, tmp_path / "old.pth", ("x", "y", "z"), circle="x")


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"walk": "circle"}, "the checkpoint has no class 'walk'"),
        ({"circle": "walk"}, "the data has no class 'walk'"),
        ({"circle": "jump"}, "would both become 'jump'"),
    ],
)
def test_impossible_names_are_refused(renamed: dict[str, str], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        compare_classes(OLD, OLD, renamed=renamed)


def test_renamed_classes_need_a_checkpoint() -> None:
    with pytest.raises(ValidationError, match="start_from=None"):
        TrainingConfig(epochs=9, start_from_classes={"walk": "walking"})


def test_a_relation_of_classes_has_two_axes() -> None:
    theirs, ours = torch.arange(9.0).reshape(3, 3), -torch.ones(2, 2)
    found = with_classes(theirs, ours, axes=(0, 1), sources=(2, None))
    assert found.tolist() == [[8, -1], [-1, -1]]


@dataclass
class _Odd:
    """Stands for settings of a head of somebody's own."""

    places: Any
    built: list[int] = field(default_factory=list)

    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> nn.Module:
        return nn.Conv1d(in_channels, self.places(num_classes), 1)


class _ModuleForEachClass:
    """Stands for settings of a head whose tensors have no axis of classes."""

    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> nn.Module:
        return nn.ModuleList(nn.Conv1d(in_channels, 1, 1) for _ in range(num_classes))


def test_a_head_with_a_module_for_each_class_is_refused() -> None:
    head: Any = _ModuleForEachClass()
    with pytest.raises(CheckpointError, match=r"3\.weight .* is absent for 3 classes and \(1, 4, 1\) for one more"):
        class_axes(head, in_channels=4, strides=(1,), num_classes=3)


@pytest.mark.parametrize("places", [lambda count: count + 1, lambda count: 2 * count])
def test_a_head_with_other_places_than_classes_is_refused(places: Any) -> None:
    head: Any = _Odd(places)
    with pytest.raises(CheckpointError, match="one place for each"):
        class_axes(head, in_channels=4, strides=(1,), num_classes=3)


def test_class_axes_are_those_of_the_classifier() -> None:
    head: HeadSettings = HeadConfig()
    axes = class_axes(head, in_channels=8, strides=(1, 2), num_classes=2)
    assert axes == {"cls_head.weight": (0,), "cls_head.bias": (0,)}  # of two offsets, too, there are two


def test_fine_tuning_a_classifier_starts_from_a_backbone_alone(tmp_path: Path) -> None:
    config = small("built in", tmp_path)
    source = ClipSource(videos=tmp_path)
    with pytest.raises(ValidationError, match=r"backbone\.pretrained"):
        FinetuneConfig(
            name="x",
            work_dir=tmp_path,
            backbone=config.backbone.model_copy(update={"reversible": True}),
            data=ClipsConfig(train=source, test=source),
            training=TrainingConfig(epochs=9, start_from=tmp_path / "best.pth"),
        )


class TestTraining:
    """Of the tiny experiment, whose second run has a class more."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        return make_tiny_experiment(tmp_path)

    def train(self, config: Path, *options: str, folder: RunFolder, **how: Any) -> None:
        settings = load_config(config, ["training.epochs=1", "training.warmup_epochs=0", *options])
        experiment.train(settings, processes=Processes(), folder=folder, **how)

    def test_it_starts_once_and_resumes_without_starting_again(self, config: Path, tmp_path: Path) -> None:
        first, second = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "second")
        self.train(config, folder=first)
        names = tmp_path / "classes.txt"
        names.write_text("aaa\nflash\nblink\n")
        start = [f"training.start_from={first.best}", "training.start_from_classes={'glow':'blink'}"]
        start += [f"data.classes={names}"]
        text = (tmp_path / "annotations.json").read_text()
        (tmp_path / "annotations.json").write_text(text.replace("glow", "blink"))
        self.train(config, *start, folder=second)
        told = load_checkpoint(second.best)["started_from"]
        assert told["file"] == str(first.best)
        assert (told["kept"], told["added"], told["renamed"]) == (["flash", "blink"], ["aaa"], {"glow": "blink"})

        first.best.unlink()  # nobody needs it any more
        self.train(config, *start, "training.epochs=2", folder=second, resume="auto")
        assert load_checkpoint(second.epoch(1))["started_from"] == told

    def test_the_first_step_sees_the_weights_of_the_checkpoint(
        self, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = RunFolder(tmp_path / "first")
        self.train(config, folder=first)
        seen: dict[str, Tensor] = {}

        def run(trainer: Any, *args: Any, **kwargs: Any) -> None:
            seen.update({name: value.clone() for name, value in trainer.model.state_dict().items()})
            assert all(torch.equal(seen[name], value) for name, value in trainer.ema.module.state_dict().items())

        monkeypatch.setattr("re2tal.training.loop.Trainer.run", run)
        self.train(config, f"training.start_from={first.best}", folder=RunFolder(tmp_path / "second"))
        weights = load_checkpoint(first.best)["weights"]
        assert all(torch.equal(value, weights[name]) for name, value in seen.items())

    def test_a_run_may_not_overwrite_what_it_starts_from(self, config: Path, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "first")
        self.train(config, folder=folder)
        before = folder.best.read_bytes()
        with pytest.raises(CheckpointError, match="--resume auto"):
            self.train(config, f"training.start_from={folder.best}", folder=folder)
        assert folder.best.read_bytes() == before

    def test_an_absent_checkpoint_is_named(self, config: Path, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"nowhere\.pth to start from"):
            self.train(config, "training.start_from=nowhere.pth", folder=RunFolder(tmp_path / "first"))
