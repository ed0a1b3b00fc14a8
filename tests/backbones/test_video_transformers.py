"""Video transformers: published sizes, features of sub-clips, rewired, annealed, checkpointed and planned."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.experiments.planning.dry_run import DryRun
from re2tal.experiments.planning.plan import STRATEGIES
from re2tal.networks.backbones import (
    Backbone,
    InternVideoConfig,
    MvitConfig,
    VideoMaeConfig,
    VideoTransformerConfig,
    VjepaConfig,
    build_backbone,
)
from re2tal.reversible import coefficients, reconstruction_error, report_of, set_coefficients, set_mode, set_tiles
from re2tal.training import Processes, RunFolder
from tests.reversible.networks import assert_same_gradients, gradients
from tests.tiny_experiment import make_tiny_experiment

pytest.importorskip("transformers")

CONFIGS = sorted((Path(__file__).parents[2] / "configs/videomae").glob("*.py"))
TINY: dict[str, Any] = {"width": 12, "depth": 3, "heads": 2, "hidden": 20, "patch": 8, "size": (16, 16)}
PLAIN: dict[str, VideoTransformerConfig] = {
    "videomae": VideoMaeConfig(**TINY, clip_frames=4, drop_path=0.5),
    "vjepa2": VjepaConfig(**TINY, clip_frames=4, drop_path=0.5),
    "internvideo2": InternVideoConfig(**TINY, clip_frames=2, drop_path=0.5),
}
MVIT = MvitConfig(size=(32, 32), clip_frames=2)
ALL = {**PLAIN, "mvit": MVIT}


def changed(config: VideoTransformerConfig, **changes: Any) -> VideoTransformerConfig:
    return type(config).model_validate({**config.model_dump(), **changes})


def built(config: VideoTransformerConfig) -> Backbone:
    """In float64; layer scale, which begins next to zero, would hide what a branch computes."""
    torch.manual_seed(0)
    backbone = build_backbone(config).double()
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.7)
    return backbone


def frames_for(config: VideoTransformerConfig, *, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 2 * config.clip_frames, *config.size, dtype=dtype, generator=generator)


def plain_parameters(width: int, depth: int, hidden: int, patch: int, *, qkv_bias: int, frames: int = 2) -> int:
    """Of patches and blocks with two norms of weight and bias."""
    block = 4 * width**2 + (qkv_bias + 1) * width + 2 * width * hidden + hidden + width + 4 * width
    return 3 * frames * patch**2 * width + width + depth * block


GIANT_VIDEO_MAE = plain_parameters(1408, 40, 6144, 14, qkv_bias=2)
SIZES: list[tuple[VideoTransformerConfig, float, int]] = [
    (VideoMaeConfig(architecture="small"), 22, plain_parameters(384, 12, 1536, 16, qkv_bias=2)),
    (VideoMaeConfig(architecture="base"), 86.2, plain_parameters(768, 12, 3072, 16, qkv_bias=2)),
    (VideoMaeConfig(architecture="large"), 304, plain_parameters(1024, 24, 4096, 16, qkv_bias=2)),
    (VideoMaeConfig(architecture="huge"), 632, plain_parameters(1280, 32, 5120, 16, qkv_bias=2)),
    # 1,013 with the classifier of 710 classes and its norm
    (VideoMaeConfig(architecture="giant"), 1013 - (711 * 1408 + 710 + 1408) / 1e6, GIANT_VIDEO_MAE),
    (VjepaConfig(architecture="large"), 304, plain_parameters(1024, 24, 4096, 16, qkv_bias=3) + 2 * 1024),
    (VjepaConfig(architecture="huge"), 632, plain_parameters(1280, 32, 5120, 16, qkv_bias=3) + 2 * 1280),
    (VjepaConfig(architecture="giant"), 1012, plain_parameters(1408, 40, 6144, 16, qkv_bias=3) + 2 * 1408),
    (
        InternVideoConfig(size=(224, 224)),
        1014,
        # No biases of queries, keys, values and norms, but norms of queries and keys, scales, class token, positions.
        plain_parameters(1408, 40, 6144, 14, qkv_bias=0, frames=1) + 40 * 2 * 1408 + (1 + 1 + 8 * 16**2) * 1408,
    ),
    (MvitConfig(), 34.537744 - 400 * 769 / 1e6, 34_537_744 - 400 * 769),  # less the classifier
]


@pytest.mark.parametrize(("config", "millions", "parameters"), SIZES, ids=lambda value: getattr(value, "title", None))
def test_published_networks_have_their_size(config: VideoTransformerConfig, millions: float, parameters: int) -> None:
    with torch.device("meta"):
        network = build_backbone(config).network
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == parameters
    assert count / 1e6 == pytest.approx(millions, rel=0.006)


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_a_long_clip_is_its_sub_clips_side_by_side(config: VideoTransformerConfig) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(config).eval()
    frames = torch.randint(0, 256, (1, 3, 2 * config.clip_frames, *config.size), dtype=torch.uint8)
    times = config.grid[0]
    with torch.no_grad():
        whole = backbone(frames, 2 * times)
        parts = [backbone(part, times) for part in frames.split(config.clip_frames, 2)]
    assert whole.shape == (1, config.out_channels, 2 * times)
    torch.testing.assert_close(whole, torch.cat(parts, dim=2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tile", [None, 4000], ids=["whole", "tiles"])
@pytest.mark.parametrize("config", PLAIN.values(), ids=PLAIN)
def test_rewired_gradients_are_those_of_plain_autograd(config: VideoTransformerConfig, tile: int | None) -> None:
    backbone = built(changed(config, reversible=True, alpha=0.5, beta=0.25)).train()
    report = report_of(backbone.network)
    assert report is not None and report.chains == (3,) and report.rewired == len(report.blocks) == 3
    assert {(chain.alpha, chain.beta) for chain in coefficients(backbone)} == {(0.5, 0.25)}
    results: dict[str, dict[str, Tensor]] = {}
    for mode, size in (("store", None), ("reversible", tile)):
        copied: Backbone = copy.deepcopy(backbone)
        set_mode(copied, mode)  # type: ignore[arg-type]
        set_tiles(copied, size)
        torch.manual_seed(1)  # the same paths are dropped
        copied(frames_for(config), 8).square().sum().backward()
        results[mode] = gradients(copied)
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)
    assert reconstruction_error(copied) == 0
    assert all(parameter.grad is not None for parameter in copied.parameters())


@pytest.mark.parametrize("config", PLAIN.values(), ids=PLAIN)
def test_annealing_begins_with_the_network_that_was_rewired(config: VideoTransformerConfig) -> None:
    plain, rewired = built(config).eval(), built(changed(config, reversible=True)).eval()
    rewired.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected = plain(frames_for(config), 8)
        set_coefficients(rewired, alpha=1, beta=0)
        torch.testing.assert_close(rewired(frames_for(config), 8), expected, rtol=1e-9, atol=1e-9)
        set_coefficients(rewired, alpha=0, beta=1)
        assert not torch.allclose(rewired(frames_for(config), 8), expected, rtol=1e-3)


@pytest.mark.parametrize("config", PLAIN.values(), ids=PLAIN)
def test_streams_come_back_in_half_precision(config: VideoTransformerConfig) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(changed(config, reversible=True, alpha=0.75, beta=0.25)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(frames_for(config, dtype=torch.float32), 8).square().sum().backward()
    assert reconstruction_error(backbone) == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def test_mvit_is_rewired_and_checkpointed_between_its_chains() -> None:
    torch.manual_seed(0)
    rewired = build_backbone(changed(MVIT, reversible=True, drop_path=0.0)).double().train()
    report = report_of(rewired.network)
    assert report is not None and report.chains == (1, 1, 10, 1) and report.rewired == 13
    stored = copy.deepcopy(rewired)
    set_mode(stored, "store")
    for backbone in (rewired, stored):
        backbone(frames_for(MVIT), 2).square().sum().backward()
    assert_same_gradients(gradients(rewired), gradients(stored), tolerance=1e-9)
    assert reconstruction_error(rewired) == 0


def test_a_changed_layer_is_found_by_running_it() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(changed(PLAIN["videomae"], reversible=True, drop_path=0.0)).double().train()
    layer: Any = backbone.network.get_submodule("net.encoder.layer.1")
    layer.output.dense = torch.nn.Sequential(layer.output.dense, torch.nn.Linear(12, 12)).double()
    stored = copy.deepcopy(backbone)
    set_mode(stored, "store")
    for copied in (backbone, stored):
        copied(frames_for(PLAIN["videomae"]), 8).square().sum().backward()
    assert_same_gradients(gradients(backbone), gradients(stored), tolerance=1e-10)
    assert reconstruction_error(backbone) == 0


@pytest.mark.parametrize("config", [*PLAIN.values()], ids=[*PLAIN])
def test_a_dry_run_compares_all_strategies(config: VideoTransformerConfig, tmp_path: Path) -> None:
    make_tiny_experiment(tmp_path)
    tiny = load_config(tmp_path / "tiny.py")
    peaks = {}
    for strategy in config.strategies:
        backbone = changed(config, **STRATEGIES[strategy], depth=6)
        dry_run = DryRun(tiny.model_copy(update={"backbone": backbone}), num_classes=2)
        peaks[strategy] = sum(dry_run.step(num_steps=64, num_clips=1).values())
    assert peaks["reversible"] < peaks["checkpointed"] < 0.7 * peaks["plain"]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (VideoMaeConfig, {"width": 10, "heads": 4}, "heads must divide width, got 4 and 10"),
        (VideoMaeConfig, {"clip_frames": 15}, "clip_frames must be a multiple of 2, got 15"),
        (VideoMaeConfig, {"size": (8, 160)}, "must hold a patch of 16 x 16 pixels, got"),
        (VjepaConfig, {"size": (160, 224)}, "as high as wide, got size="),
        (MvitConfig, {"size": (150, 160)}, "pools 2 frames and 32 x 32 pixels"),
    ],
)
def test_sizes_that_do_not_work_are_told(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


REWIRED = "backbone.reversible=True backbone.activation_checkpointing=False"
STORED = "backbone.reversible=False backbone.alpha=0 backbone.beta=1 training.anneal_epochs=0"
WAYS = {
    "annealed": "",
    "rewired": f"{REWIRED} backbone.alpha=0 backbone.beta=1 training.anneal_epochs=0",
    "checkpointed": f"{STORED} backbone.activation_checkpointing=True",
    "plain": STORED,
}
"""Options of docs/transformers.md."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_describe_clips_of_768_frames_in_every_strategy(path: Path) -> None:
    parameters = set()
    for way, options in WAYS.items():
        config = load_config(path, options.split())
        sampling = config.data.sampling
        assert sampling.num_steps * sampling.frames_per_step == 768
        assert config.training.anneal_epochs == 0 or way == "annealed"
        assert config.data.crop_size == config.backbone.size  # type: ignore[attr-defined]
        with torch.device("meta"):
            backbone = build_backbone(config.backbone)
        assert (report_of(backbone.network) is not None) is (way in ("annealed", "rewired"))
        parameters.add(sum(parameter.numel() for parameter in backbone.parameters()))
    assert len(parameters) == 1


CONFIG = """
from pathlib import Path
from runpy import run_path
from re2tal.networks.backbones import VideoMaeConfig

tiny = run_path(str(Path(__file__).with_name("tiny.py")))["config"]
backbone = VideoMaeConfig(
    width=12, depth=2, heads=2, hidden=20, patch=8, size=(16, 16), clip_frames=4, reversible=True, alpha=0.75, beta=0.25
)
config = tiny.model_copy(update={"backbone": backbone})
"""


def test_it_is_trained_annealed_and_tested(tmp_path: Path) -> None:
    make_tiny_experiment(tmp_path)
    (tmp_path / "videomae.py").write_text(CONFIG)
    config = load_config(tmp_path / "videomae.py", ["training.anneal_epochs=2"])
    folder = RunFolder(config.work_dir / "run")
    experiment.train(config, processes=Processes(), folder=folder)
    result = experiment.test(config, processes=Processes(), folder=folder)
    assert result is not None and 0 <= result.average <= 1
