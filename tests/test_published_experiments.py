"""configs/re2tal: the eight experiments, with the sizes and settings of the published ones."""

import json
from pathlib import Path

import pytest

from re2tal.cli import app
from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import describe

CONFIGS = Path(__file__).parents[1] / "configs" / "re2tal"
BACKBONES = {"swin_tiny": 27_850_470, "slowfast101": 61_990_312}
DETECTORS = {
    ("thumos", "swin_tiny"): 27_285_532,
    ("thumos", "slowfast101"): 29_644_828,
    ("anet", "swin_tiny"): 7_140_105,
    ("anet", "slowfast101"): 8_319_753,
}
NAMES = [(data, rewired, network) for data, network in DETECTORS for rewired in (False, True)]


def load(data: str, *, rewired: bool, network: str) -> ExperimentConfig:
    return load_config(CONFIGS / f"e2e_{data}_{'re2tal_' if rewired else ''}actionformer_{network}.py")


def test_there_are_the_eight_and_no_others() -> None:
    assert len(NAMES) == len(list(CONFIGS.glob("*.py"))) == 8


@pytest.mark.parametrize(("data", "rewired", "network"), NAMES)
def test_sizes_are_the_published_ones(data: str, rewired: bool, network: str) -> None:
    config = load(data, rewired=rewired, network=network)
    assert describe(config)["parameters"] == {
        "backbone": BACKBONES[network],
        "detector": DETECTORS[data, network],
    }


@pytest.mark.parametrize(("data", "rewired", "network"), NAMES)
def test_runs_write_where_the_page_says(data: str, rewired: bool, network: str) -> None:
    frames = {"thumos": 1024, "anet": 768}[data]
    folder = f"exps/{data}/{'re2tal_' if rewired else ''}e2e_actionformer_{network}_frame{frames}"
    assert load(data, rewired=rewired, network=network).work_dir == Path(folder)


@pytest.mark.parametrize(("data", "network"), DETECTORS)
def test_a_pair_differs_in_the_experiment_alone(data: str, network: str) -> None:
    plain, rewired = (load(data, rewired=rewired, network=network).model_dump() for rewired in (False, True))
    differing = {key for key in plain if plain[key] != rewired[key]}
    assert differing == {"name", "work_dir", "backbone"}
    backbone = {key for key in plain["backbone"] if plain["backbone"][key] != rewired["backbone"][key]}
    assert backbone - {"drop_path"} == {"reversible", "activation_checkpointing", "pretrained"}
    assert rewired["backbone"]["reversible"] and plain["backbone"]["activation_checkpointing"]
    if network == "swin_tiny":
        assert (plain["backbone"]["drop_path"], rewired["backbone"]["drop_path"]) == (0.1, 0.2)


def test_settings_of_thumos() -> None:
    config = load("thumos", rewired=True, network="swin_tiny")
    sampling, training = config.data.sampling, config.training
    assert (sampling.kind, sampling.num_steps, sampling.frames_per_step, sampling.frame_stride) == ("window", 512, 2, 2)
    assert (sampling.test_overlap, sampling.min_inside) == (0.5, 0.75)
    assert (training.epochs, training.cosine_epochs, training.warmup_epochs, training.batch_size) == (120, 1500, 5, 2)
    assert (training.learning_rate, training.backbone_learning_rate) == (1e-4, 1e-5)
    assert [epoch for epoch in range(120) if training.is_evaluated(epoch)] == list(range(79, 120, 5))
    assert config.pyramid.channels == 512 and not config.pyramid.position_code
    assert config.pyramid.strides == (1, 2, 4, 8, 16, 32)
    assert (config.head.first_reach, config.head.center_radius, config.head.initial_normalizer) == (4, 1.5, 100)
    assert (config.head.label_smoothing, config.head.regression_weight) == (0, 1)
    nms = config.postprocess.nms
    assert (nms.sigma, nms.min_score, nms.max_segments, nms.per_class) == (0.7, 0.001, 2000, True)
    assert (config.postprocess.min_score, config.postprocess.max_candidates) == (0.001, 2000)
    assert config.evaluation.tious == (0.3, 0.4, 0.5, 0.6, 0.7)
    assert config.evaluation.blocked == ("video_test_0000270", "video_test_0001292")


def test_settings_of_activitynet() -> None:
    config = load("anet", rewired=True, network="slowfast101")
    sampling, training = config.data.sampling, config.training
    assert (sampling.kind, sampling.num_steps, sampling.frames_per_step, sampling.min_share) == ("resize", 192, 4, 0.01)
    assert (training.epochs, training.cosine_epochs, training.warmup_epochs, training.batch_size) == (15, None, 5, 8)
    assert (training.learning_rate, training.backbone_learning_rate) == (1e-3, 1e-5)
    assert [epoch for epoch in range(15) if training.is_evaluated(epoch)] == list(range(8, 15))
    assert config.pyramid.channels == 256 and config.pyramid.position_code
    assert (config.head.label_smoothing, config.head.regression_weight) == (0.1, 2)
    assert config.head.initial_normalizer == 200
    nms = config.postprocess.nms
    assert (nms.sigma, nms.max_segments, nms.per_class, nms.voting_tiou) == (0.7, 100, False, 0.9)
    assert config.data.class_agnostic and config.postprocess.video_labels.top == 2
    assert config.evaluation.tious == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert config.data.video_path("abc").name == "v_abc.mp4"


@pytest.mark.parametrize("data", ["thumos", "anet"])
def test_settings_of_both(data: str) -> None:
    config = load(data, rewired=False, network="slowfast101")
    training, augment = config.training, config.augment
    assert (training.weight_decay, training.min_learning_rate, training.clip_grad_norm) == (0.05, 1e-8, 1)
    assert (training.amp, training.ema_decay) == ("fp16", 0.999)
    assert config.backbone.freeze_norms and config.pyramid.drop_path == 0.1
    assert (config.data.short_side_train, config.data.short_side_test, config.data.crop_size) == (256, 224, (224, 224))
    assert (augment.crop.area, augment.flip_probability) == ((0.08, 1), 0.5)
    assert augment.rand_augment.num_operations == 2 and len(augment.rand_augment.operations) == 15
    assert (augment.jitter.brightness, augment.jitter.contrast, augment.jitter.saturation) == (0.5, 0.5, 0.5)
    assert augment.jitter.hue == 0.1


def test_show_prints_the_resolved_config_and_the_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    path = CONFIGS / "e2e_thumos_actionformer_swin_tiny.py"
    app(["show", str(path), "--cfg-options", "training.epochs=7"], result_action="return_value")
    shown = json.loads(capsys.readouterr().out)
    assert shown["training"]["epochs"] == 7
    assert shown["pyramid"]["arch"] == [2, 2, 5]
    assert shown["parameters"] == {"backbone": 27_850_470, "detector": 27_285_532}


def test_show_without_data_leaves_the_detector_open(tmp_path: Path) -> None:
    options = ["data.num_classes=None", f"data.annotations={tmp_path / 'absent.json'}"]
    config = load_config(CONFIGS / "e2e_thumos_actionformer_swin_tiny.py", options)
    assert describe(config)["parameters"] == {"backbone": 27_850_470, "detector": None}
