"""Config files, options on the command line, and what is said when they are wrong."""

import json
import sys
from pathlib import Path

import pytest

from re2tal.config import ConfigError, ExperimentConfig, load_config, override, read_json_config
from re2tal.networks.backbones import SlowFastConfig
from re2tal.networks.heads import HeadConfig
from tests.tiny_experiment import CONFIG


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def test_a_config_file_is_read(path: Path) -> None:
    config = load_config(path)
    assert config.name == "tiny"
    assert config.data.videos == path.parent / "videos"
    assert config.backbone.kind == "slowfast"


def test_a_config_survives_the_json_of_a_checkpoint(path: Path) -> None:
    config = load_config(path)
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


def test_settings_that_earlier_versions_had_are_left_out_with_a_line_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(path)
    values = config.model_dump(mode="json")
    values["data"]["sampling"]["validation_overlap"] = 0.25
    values["backbone"] |= {"cell_mib": "auto", "lanes": "off"}
    with caplog.at_level("INFO", logger="re2tal"):
        assert read_json_config(json.dumps(values), source="best.pth") == config
        assert read_json_config(config.model_dump_json(), source="best.pth") == config
    named = ("backbone.cell_mib", "backbone.lanes", "data.sampling.validation_overlap")
    assert all(f"best.pth has {name}, which is" in line for name, line in zip(named, caplog.messages, strict=True))
    values["data"]["sampling"]["validation_overlaps"] = 0.25
    with pytest.raises(ConfigError, match="validation_overlaps"):
        read_json_config(json.dumps(values), source="best.pth")


def test_a_config_file_of_an_earlier_version_finds_the_modules_that_have_moved(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        "from pathlib import Path\n"
        "from re2tal.backbones import SlowFastConfig\n"
        "from re2tal.heads import HeadConfig\n"
        "from re2tal.presets import thumos\n"
        "config = thumos(name='old', backbone=SlowFastConfig()).model_copy(update={'head': HeadConfig(num_convs=1)})\n"
    )
    config = load_config(path)
    assert config.head == HeadConfig(num_convs=1) and isinstance(config.backbone, SlowFastConfig)
    assert not {"re2tal.backbones", "re2tal.heads", "re2tal.presets"} & sys.modules.keys()


@pytest.mark.parametrize(
    ("option", "keys", "value"),
    [
        ("training.epochs=7", ("training", "epochs"), 7),
        ("training.learning_rate=3e-4", ("training", "learning_rate"), 3e-4),
        ("training.clip_grad_norm=None", ("training", "clip_grad_norm"), None),
        ("training.amp=bf16", ("training", "amp"), "bf16"),
        ("training.amp=none", ("training", "amp"), "none"),
        ("backbone.reversible=false", ("backbone", "reversible"), False),
        ("backbone.slow.base_channels=16", ("backbone", "slow", "base_channels"), 16),
        ("backbone.blocks=(1,1)", ("backbone", "blocks"), (1, 1)),
        ("data.videos=/elsewhere/a=b", ("data", "videos"), Path("/elsewhere/a=b")),
        ("data.train_subset=1", ("data", "train_subset"), "1"),
        ("data.sampling.num_steps=8", ("data", "sampling", "num_steps"), 8),
        ("data.sampling={'kind': 'resize', 'num_steps': 24}", ("data", "sampling", "num_steps"), 24),
        ("evaluation.tious=[0.5, 0.75]", ("evaluation", "tious"), (0.5, 0.75)),
        ("name=12", ("name",), "12"),
    ],
)
def test_options_replace_settings_in_their_own_type(
    path: Path, option: str, keys: tuple[str, ...], value: object
) -> None:
    found: object = load_config(path, [option])
    for key in keys:
        found = getattr(found, key)
    assert found == value and type(found) is type(value)


def test_options_leave_other_settings_alone(path: Path) -> None:
    config = load_config(path)
    changed = override(config, ["training.epochs=7", "backbone.reversible=False"])
    assert override(changed, ["training.epochs=2", "backbone.reversible=True"]) == config


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("training.epoch=3", r"no setting 'training.epoch'; did you mean 'training.epochs'"),
        ("epochs=3", r"no setting 'epochs'; did you mean 'training.epochs'"),
        ("trainning.epochs=3", r"no setting 'trainning.epochs'; did you mean 'training.epochs'"),
        ("training.epochs.first=3", r"no setting 'training.epochs.first'.*training.epochs has no settings inside"),
        ("training.epochs", r"written key.sub=value, got 'training.epochs'"),
        ("training.epochs=many", r"training.epochs: Input should be a valid integer.*got 'many'"),
        ("training.epochs=-1", r"training.epochs: Input should be greater than 0; got '-1'"),
        ("training.accumulate=3", r"batch_size must be a multiple of accumulate, got 2 and 3"),
        ("training.amp=fp8", r"training.amp: Input should be 'auto', 'none', 'bf16' or 'fp16'"),
        ("backbone.blocks=(1,", r"'\(1,' is no Python value"),
        ("data.sampling={'kind': 'resize', 'num_step': 24}", r"no setting 'data.*num_step'; did you mean 'num_steps'"),
    ],
)
def test_a_wrong_option_is_named_with_the_fix(path: Path, option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(path, [option])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", r"tiny\.py must assign an ExperimentConfig to `config`, it assigns nothing"),
        ("config = {'training': 3}", r"must assign an ExperimentConfig to `config`, it assigns a dict"),
        ("config = (", r"tiny\.py, line 1 cannot be run: SyntaxError"),
        ("import nothing_of_this_name", r"tiny\.py, line 1 cannot be run: ModuleNotFoundError: .*nothing_of_this_name"),
        (CONFIG.replace("epochs=2", "epoch=2"), r"TrainingConfig has no setting 'epoch'; did you mean 'epochs'"),
        (CONFIG.replace("epochs=2, ", ""), r"TrainingConfig needs the setting 'epochs'"),
        (CONFIG.replace("epochs=2", "epochs='two'"), r"TrainingConfig.epochs: .*valid integer.*got 'two'"),
    ],
)
def test_a_wrong_file_is_named_with_the_fix(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config file .*gone\.py; give the path of a Python file"):
        load_config(tmp_path / "gone.py")


def test_a_folder_or_binary_file_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)
    binary = tmp_path / "binary.py"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="cannot be run"):
        load_config(binary)


def test_the_config_is_json_for_other_programs(path: Path) -> None:
    values = json.loads(load_config(path).model_dump_json())
    assert values["training"]["epochs"] == 2


def test_a_window_longer_than_the_position_code_is_refused_when_the_config_loads(path: Path) -> None:
    long = ["pyramid.position_code=true", "data.sampling.num_steps=32"]
    with pytest.raises(ConfigError, match=r"position code of pyramid.max_steps = 16, got 32; set both alike"):
        load_config(path, long)
    load_config(path, [*long, "pyramid.max_steps=32"])
    load_config(path, ["data.sampling.num_steps=32"])  # without a code, any length goes


# A Swin from scratch needs more time and another rate than a SlowFast.
BUDGET = ("epochs", "eval_from", "learning_rate", "backbone_learning_rate")


@pytest.mark.parametrize(
    "file",
    [Path(__file__).parents[1] / f"configs/demo/{name}.py" for name in ("re2slowfast", "re2swin", "slowfast", "swin")],
    ids=lambda p: p.stem,
)
def test_the_demo_configs_load_and_differ_in_backbone_and_budget_alone(file: Path) -> None:
    config = load_config(file)
    assert config.backbone.reversible == ("auto" if file.stem.startswith("re2") else False)
    assert config.backbone.kind == file.stem.removeprefix("re2")
    reference = load_config(file.with_name("re2slowfast.py"))
    same = {"name": reference.name, "work_dir": reference.work_dir, "backbone": reference.backbone}
    if config.backbone.kind == "swin":
        same["training"] = reference.training
        budget = {name: getattr(reference.training, name) for name in BUDGET}
        assert config.training.model_copy(update=budget) == reference.training
        assert config.training == load_config(file.with_name("re2swin.py")).training
    assert config.model_copy(update=same) == reference
