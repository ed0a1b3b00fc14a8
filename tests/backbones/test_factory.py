"""A network of a library as the detector's backbone: clips in pieces, features pooled, rewired, its own weights."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.config.building import describe
from re2tal.experiments import experiment
from re2tal.networks.backbones import Backbone, FactoryConfig, build_backbone
from re2tal.reversible import coefficients, reconstruction_error, set_mode
from re2tal.training import Processes, RunFolder
from re2tal.weights import WeightsError, load_pretrained
from tests.reversible.networks import assert_same_gradients, gradients
from tests.tiny_experiment import make_tiny_experiment

transformers = pytest.importorskip("transformers")

REPOSITORY = Path(__file__).parents[2]
ZOO = sorted((REPOSITORY / "configs/zoo").glob("*.py"))
PEERS = Processes()

SIZES: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
VIDEOMAE = FactoryConfig(
    factory="transformers:VideoMAEModel",
    options=SIZES,
    takes="BTCHW",
    clip_frames=4,
    size=(16, 16),
    time_positions=2,
    out_channels=8,
    reversible=True,
    freeze_norms=False,
)
VJEPA2 = FactoryConfig(
    factory="transformers:VJEPA2Model",
    options={
        "crop_size": 16,
        "patch_size": 8,
        "frames_per_clip": 4,
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
    },
    arguments={"skip_predictor": True},
    left_out=("predictor",),
    takes="BTCHW",
    clip_frames=4,
    size=(16, 16),
    time_positions=2,
    out_channels=12,
    reversible=True,
)
PICTURES = FactoryConfig(
    factory="torchvision:resnet18", left_out=("fc",), takes="BCHW", clip_frames=1, size=(32, 32), out_channels=512
)
CLIPS = FactoryConfig(
    factory="torchvision:r3d_18",
    left_out=("fc",),
    clip_frames=4,
    size=(32, 32),
    out_channels=512,
    reversible=True,
    freeze_norms=True,
)
NETWORKS = {"videomae": VIDEOMAE, "vjepa2": VJEPA2, "pictures": PICTURES, "r3d": CLIPS}


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_a_long_clip_is_its_pieces_side_by_side(config: FactoryConfig) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(config).eval()
    frames = torch.randint(0, 256, (2, 3, 12, *config.size), dtype=torch.uint8)
    times = 12 // config.clip_frames * config.time_positions
    with torch.no_grad():
        whole = backbone(frames, times)
        pieces = [backbone(piece, times // (12 // config.clip_frames)) for piece in frames.split(config.clip_frames, 2)]
    assert whole.shape == (2, config.out_channels, times)
    torch.testing.assert_close(whole, torch.cat(pieces, dim=2), rtol=1e-4, atol=1e-5)


def test_features_are_the_means_of_the_tokens_of_a_time() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(VIDEOMAE.model_copy(update={"reversible": False})).eval()
    frames = torch.randn(1, 3, 4, 16, 16)  # normalised already
    model = transformers.VideoMAEModel(transformers.VideoMAEConfig(**SIZES)).eval()
    model.load_state_dict(backbone.network.net.state_dict())
    with torch.no_grad():
        tokens = model(frames.transpose(1, 2)).last_hidden_state  # (1, 2 * 2 * 2, 8)
        features = backbone(frames, 2)
    torch.testing.assert_close(features, torch.stack([tokens[:, :4].mean(1), tokens[:, 4:].mean(1)], dim=2))


@pytest.mark.parametrize("config", [VIDEOMAE, VJEPA2, CLIPS], ids=["videomae", "vjepa2", "r3d"])
def test_it_is_rewired_and_its_gradients_are_those_of_plain_autograd(config: FactoryConfig) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(config.model_copy(update={"alpha": 0.5, "beta": 0.25})).double().train()
    assert {(chain.alpha, chain.beta) for chain in coefficients(backbone)} == {(0.5, 0.25)}
    frames = torch.randn(1, 3, 2 * config.clip_frames, *config.size, dtype=torch.float64)
    results: dict[str, dict[str, Tensor]] = {}
    for mode in ("store", "reversible"):
        copied: Backbone = copy.deepcopy(backbone)
        set_mode(copied, mode)
        copied(frames, 8).square().sum().backward()
        results[mode] = gradients(copied)
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)
    assert reconstruction_error(copied) == 0


@pytest.mark.parametrize("layout", ["alone", "beside a classifier", "safetensors"])
def test_weights_under_the_names_of_the_library(layout: str, tmp_path: Path) -> None:
    config = transformers.VideoMAEConfig(**SIZES, num_labels=3)
    classifier = transformers.VideoMAEForVideoClassification(config)
    model = transformers.VideoMAEModel(config) if layout == "alone" else classifier.videomae
    path = tmp_path / "weights"
    match layout:
        case "alone":
            torch.save(model.state_dict(), path)
        case "beside a classifier":
            torch.save({"state_dict": classifier.state_dict()}, path)
        case _:
            save_file(model.state_dict(), path)
    network = build_backbone(VIDEOMAE).network
    load_pretrained(network, path=path, kind="factory", reversible=True)
    expected = model.state_dict()
    assert expected.keys() == {name.removeprefix("net.") for name in network.state_dict()}
    assert all(torch.equal(value, network.state_dict()[f"net.{name}"]) for name, value in expected.items())


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"encoder.layer.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    network = build_backbone(VIDEOMAE).network
    with pytest.raises(WeightsError, match=r"missing, only in the model[\s\S]*net.embeddings"):
        load_pretrained(network, path=tmp_path / "other.safetensors", kind="factory", reversible=True)


def changed(config: FactoryConfig, **changes: Any) -> FactoryConfig:
    return FactoryConfig.model_validate({**config.model_dump(), **changes})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(VIDEOMAE, out_channels=9), "gives 8 channels, and backbone.out_channels is 9; set it to 8"),
        (changed(VIDEOMAE, time_positions=3), r"gives \(1, 8, 8\), in which no features of 3 times"),
        (changed(VIDEOMAE, factory="transformers:VideoMAE"), "did you mean VideoMAE"),
        (changed(VIDEOMAE, options={"sizes": 3}, factory="torchvision:resnet18"), "cannot be built with {'sizes': 3}"),
        (changed(PICTURES, left_out=("head",)), "names 'head', which torchvision:resnet18 does not have; it has conv1"),
        (changed(VIDEOMAE, factory="videomae"), "cannot tell what network 'videomae' is"),
    ],
)
def test_what_does_not_fit_is_told(config: FactoryConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(config)(torch.zeros(1, 3, 4, 16, 16), 2)


def test_settings_that_contradict_each_other_are_told(experiment_file: Path) -> None:
    with pytest.raises(ValueError, match="clip_frames=1, got 4"):
        changed(PICTURES, clip_frames=4)
    for options, message in (
        (["data.sampling.num_steps=9"], "takes 4 frames at a time .* clips have 18; give them a multiple"),
        (["data.crop_size=(8,8)"], r"takes frames of backbone.size=\(16, 16\), and data.crop_size is \(8, 8\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(experiment_file, options)


class Doubling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, channels, 1)

    def forward(self, clips: Tensor) -> Tensor:
        return 2 * self.conv(clips)


def test_a_function_of_one_s_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from tests.backbones.test_factory import Doubling as build\n")
    config = FactoryConfig(factory=f"{path}:build", options={"channels": 5}, clip_frames=2, size=(8, 8), out_channels=5)
    assert build_backbone(config)(torch.zeros(1, 3, 4, 8, 8), 4).shape == (1, 5, 4)


# As an experiment

CONFIG = """
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from tests.backbones.test_factory import VIDEOMAE

tiny = run_path(str(Path(__file__).with_name("tiny.py")))["config"]
config = tiny.model_copy(update={"backbone": VIDEOMAE.model_copy(update={"alpha": 0.75, "beta": 0.25})})
"""


@pytest.fixture(scope="module")
def experiment_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("factory")
    make_tiny_experiment(folder)
    path = folder / "videomae.py"
    path.write_text(CONFIG)
    return path


def test_it_is_trained_resumed_tested_and_predicts(experiment_file: Path, re2tal: Callable[..., Any]) -> None:
    config = load_config(experiment_file, ["training.anneal_epochs=2"])
    first, second = (RunFolder(config.work_dir / name) for name in ("undisturbed", "resumed"))
    experiment.train(config, processes=PEERS, folder=first)
    experiment.train(config, processes=PEERS, folder=second, resume=first.epoch(0))
    ends = [torch.load(folder.epoch(1), weights_only=True)["weights"] for folder in (first, second)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    result = experiment.test(config, processes=PEERS, folder=first)
    assert result is not None and 0 <= result.average <= 1
    videos, found = experiment_file.parent / "videos", experiment_file.parent / "found"
    assert re2tal("predict", videos / "video4.mp4", "--checkpoint", first.best, "--out", found) == 0
    assert json.loads((found / "detections.json").read_text())["results"].keys() == {"video4"}


def test_it_cannot_be_planned_and_says_so(experiment_file: Path, re2tal: Callable[..., Any]) -> None:
    assert "cannot be run dry: finding its blocks takes tensors with values" in re2tal("plan", experiment_file)


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_the_zoo_s_configs_describe_networks_of_their_sizes(path: Path) -> None:
    config = load_config(path)
    assert isinstance(config, ExperimentConfig) and isinstance(config.backbone, FactoryConfig)
    width, depth, key_bias, last_norm = {"videomae": (768, 12, 0, 0), "vjepa2": (1024, 24, 1, 1)}[
        path.stem.split("_")[-1]
    ]
    attention = 4 * width**2 + (3 + key_bias) * width
    mlp = 8 * width**2 + 5 * width
    patches = 3 * 2 * 16 * 16 * width + width
    expected = patches + depth * (attention + mlp + 4 * width) + 2 * last_norm * width
    assert describe(config)["parameters"]["backbone"] == expected
