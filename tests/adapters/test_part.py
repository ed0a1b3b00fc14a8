"""adapter.safetensors: what was trained, without the pretrained weights, and what is made of both again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from re2tal.config import ConfigError, load_config
from re2tal.config.building import build_detector
from re2tal.experiments import experiment
from re2tal.experiments.planning import make_plan
from re2tal.inference import load_trained
from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import Processes, RunFolder
from re2tal.weights import WeightsError, read_weights
from tests.adapters.networks import ADAPTERS, NETWORKS, adapted, build
from tests.tiny_experiment import make_tiny_experiment

pytest.importorskip("transformers")
pytest.importorskip("peft")

PEERS = Processes()
CONFIG = """
from pathlib import Path
from runpy import run_path
from re2tal.networks.adapters import TemporalAdapterConfig
from tests.adapters.networks import ADAPTERS, NETWORKS, adapted

here = Path(__file__).parent
tiny = run_path(str(here / "tiny.py"))["config"]
backbone = adapted(NETWORKS["factory"], TemporalAdapterConfig(), pretrained=here / "pretrained.pth")
config = tiny.model_copy(update={"backbone": backbone})
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder]:
    """A config file, and the folder of its run."""
    folder = tmp_path_factory.mktemp("part")
    make_tiny_experiment(folder)
    (folder / "config.py").write_text(CONFIG)
    torch.save(build(adapted(NETWORKS["factory"], None)).network.net.state_dict(), folder / "pretrained.pth")
    config = load_config(folder / "config.py")
    run = RunFolder(config.work_dir / "gpu1_id0")
    experiment.train(config, processes=PEERS, folder=run)
    return folder / "config.py", run


def test_it_holds_adapters_pyramid_and_head_and_no_more(trained: tuple[Path, RunFolder]) -> None:
    _, run = trained
    best = read_weights(run.best)
    names = set(load_file(run.adapter))
    others = {name for name in best.tensors if name not in names}
    assert {name.split(".")[0] for name in names} == {"backbone", "pyramid", "head"}
    assert others and all(name.startswith("backbone.network.net.") and ".adapter." not in name for name in others)
    assert all(".adapter." in name for name in names if name.startswith("backbone."))
    part = read_weights(run.adapter)
    assert all(torch.equal(value, best.tensors[name]) for name, value in part.tensors.items())
    assert (part.class_names, part.config, part.epoch) == (best.class_names, best.config, best.epoch)
    before = read_weights(run.path.parents[1] / "pretrained.pth", kind="factory").tensors
    assert all(torch.equal(best.tensors[f"backbone.network.net.{name}"], value) for name, value in before.items())


def test_it_tests_and_predicts_as_the_whole_checkpoint_does(
    trained: tuple[Path, RunFolder], re2tal: Callable[..., Any]
) -> None:
    path, run = trained
    found = []
    for name in (run.best, run.adapter):
        tested = experiment.test(load_config(path), processes=PEERS, folder=run, checkpoint=name)
        out = path.parent / f"found_{name.suffix}"
        assert re2tal("predict", path.parent / "videos/video4.mp4", "--checkpoint", name, "--out", out) == 0
        found.append((tested, json.loads((out / "detections.json").read_text())["results"]))
    assert found[0] == found[1]
    assert load_trained(run.best).fingerprint() == load_trained(run.adapter).fingerprint()


def test_a_run_starts_from_it(trained: tuple[Path, RunFolder]) -> None:
    path, run = trained
    config = load_config(path, [f"training.start_from={run.adapter}", "training.epochs=1"])
    second = RunFolder(config.work_dir / "second")
    experiment.train(config, processes=PEERS, folder=second)
    assert torch.load(second.best, weights_only=True)["started_from"]["file"] == str(run.adapter)
    assert second.adapter.is_file()


def test_other_pretrained_weights_are_refused(trained: tuple[Path, RunFolder], tmp_path: Path) -> None:
    _, run = trained
    backbone = build(adapted(NETWORKS["factory"], None))
    backbone.network.net.encoder.layer[0].layernorm_before.bias.data[0] += 1
    torch.save(backbone.network.net.state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="holds other weights than those that .* was trained beside"):
        load_trained(run.adapter, options=[f"backbone.pretrained={tmp_path / 'other.pth'}"])
    with pytest.raises(WeightsError, match="there are no pretrained weights nowhere.pth"):
        load_trained(run.adapter, options=["backbone.pretrained=nowhere.pth"])
    with pytest.raises(WeightsError, match="give the best.pth beside it"):
        load_trained(run.adapter, options=["backbone.pretrained=None", "backbone.train_from=0"])


def test_a_damaged_one_is_refused(trained: tuple[Path, RunFolder], tmp_path: Path) -> None:
    _, run = trained
    content = bytearray(run.adapter.read_bytes())
    content[-3] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not as it was written"):
        read_weights(tmp_path / "damaged.safetensors")
    config = load_config(trained[0], [f"backbone.pretrained={run.adapter}"])
    with pytest.raises(WeightsError, match="no whole backbone; give the best.pth beside it"):
        experiment.train(config, processes=PEERS, folder=RunFolder(tmp_path / "run"))


def test_where_all_is_trained_there_is_none(trained: tuple[Path, RunFolder]) -> None:
    path, _ = trained
    for options in (["backbone.adapter=None"], ["backbone.train_from=0"]):
        config = load_config(path, [*options, "training.epochs=1"])
        run = RunFolder(config.work_dir / options[0])
        experiment.train(config, processes=PEERS, folder=run)
        assert run.best.is_file() and not run.adapter.exists()


def test_lora_on_the_command_line(trained: tuple[Path, RunFolder]) -> None:
    path, _ = trained
    config = load_config(path, ["backbone.adapter={'kind':'lora','rank':2}", "training.epochs=1"])
    run = RunFolder(config.work_dir / "lora")
    experiment.train(config, processes=PEERS, folder=run)
    names = set(load_file(run.adapter))
    assert {name.rpartition("lora_")[2].split(".")[0] for name in names if "lora_" in name} == {"A", "B"}
    assert not any("base_layer" in name for name in names)
    assert load_trained(run.adapter).fingerprint() == load_trained(run.best).fingerprint()
    assert isinstance(load_config(path).backbone.adapter, TemporalAdapterConfig)


@pytest.mark.parametrize(
    ("way", "kind"), [("checkpointed", "temporal"), ("reversible", "temporal"), ("plain", "ladder")]
)
def test_a_plan_counts_what_is_trained_alone(way: str, kind: str) -> None:
    network = adapted(
        NETWORKS["videomae"],
        ADAPTERS[kind],
        reversible=way == "reversible",
        activation_checkpointing=way == "checkpointed",
    )
    preset = load_config(Path(__file__).parents[2] / "configs/adatad/e2e_thumos_videomae_s_768x1_160_adapter.py")
    data = preset.data.model_copy(
        update={"crop_size": (16, 16), "sampling": preset.data.sampling.model_copy(update={"num_steps": 32})}
    )
    pyramid = PyramidConfig(channels=8, num_heads=2, arch=(1, 1, 2), max_steps=32)
    training = preset.training.model_copy(update={"amp": "none"})
    config = preset.model_copy(update={"backbone": network, "data": data, "pyramid": pyramid, "training": training})
    (estimate,) = make_plan(config, memory=2**30, device=torch.device("cpu"), quick=True).estimates
    model = build_detector(config, num_classes=20)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) < len(list(model.parameters()))
    # Adam's two moments, and its count of steps
    assert estimate.parts["optimizer"] == sum(2 * p.nbytes + 4 for p in trained)
    assert estimate.parts["activations"] > 0


def test_lora_cannot_be_planned_and_says_so() -> None:
    preset = load_config(Path(__file__).parents[2] / "configs/adatad/e2e_thumos_videomae_s_768x1_160_adapter.py")
    backbone = preset.backbone.model_copy(update={"adapter": ADAPTERS["lora"]})
    with pytest.raises(
        ConfigError, match="cannot be run dry: finding its blocks, or a LoRA, takes tensors with values"
    ):
        make_plan(preset.model_copy(update={"backbone": backbone}), memory=2**30)
