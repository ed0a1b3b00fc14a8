"""Classes of one's own in a config: by their source, in JSON, and never from a checkpoint by themselves."""

import json
from pathlib import Path

import pytest

from re2tal.common.extension import Extensible, ExtensionError, extension, load_object
from re2tal.config import ConfigError, ExperimentConfig, load_config, override, read_json_config
from tests.extending.conftest import EXAMPLES, HEAD
from tests.tiny_experiment import CONFIG

OWN = """
from pathlib import Path
from re2tal.networks.heads import HeadConfig

(Path(__file__).parent / "executed").touch()

class OwnHeadConfig(HeadConfig):
    sharpness: float = 1.0
"""


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: no class of one's own is known."""
    monkeypatch.setattr(Extensible, "_subclasses", {})


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path}/own.py:OwnHeadConfig"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def test_a_class_is_given_by_its_source_with_its_settings(tiny: Path, own: str) -> None:
    config = load_config(tiny, [f"head={own}", "head.sharpness=2", "head.num_convs=3"])
    assert config.head == extension(own, sharpness=2.0, num_convs=3)
    assert json.loads(config.model_dump_json())["head"]["source"] == own


def test_a_class_may_stand_in_the_config_file_itself(tiny: Path) -> None:
    text = CONFIG.replace("config =", OWN.replace("(Path", "# (Path") + "\nconfig =")
    tiny.write_text(text.replace("data=Data", "head=OwnHeadConfig(sharpness=3), data=Data"))
    config = load_config(tiny, ["head.num_convs=1"])
    assert (config.head.sharpness, config.head.num_convs) == (3.0, 1)  # type: ignore[attr-defined]
    assert config.head.source() == f"{tiny}:OwnHeadConfig"


def test_a_config_with_own_classes_survives_the_json_of_a_checkpoint(tiny: Path, own: str) -> None:
    config = load_config(tiny, [f"head={own}"])
    assert read_json_config(config.model_dump_json(), source="best.pth") == config
    assert override(config, ["head.sharpness=0.5"]).head == extension(own, sharpness=0.5)


@pytest.mark.usefixtures("nothing_imported")
def test_code_that_a_checkpoint_names_is_not_executed(tiny: Path, own: str, tmp_path: Path) -> None:
    values = load_config(tiny).model_dump(mode="json")
    text = json.dumps({**values, "head": {"source": own}})
    with pytest.raises(ConfigError, match=r"own.py:OwnHeadConfig.*code that data names is not imported.*--config"):
        read_json_config(text, source="best.pth")
    with pytest.raises(ValueError, match="not imported"):
        ExperimentConfig.model_validate(json.loads(text))
    assert not (tmp_path / "executed").exists()
    extension(own)
    assert (tmp_path / "executed").exists()
    read_json_config(text, source="best.pth")


@pytest.mark.usefixtures("nothing_imported")
def test_a_checkpoint_of_another_folder_takes_the_class_that_is_imported(tiny: Path, own: str) -> None:
    config = load_config(tiny, [f"head={own}"])
    elsewhere = config.model_dump_json().replace(own, "/somewhere/else/own.py:OwnHeadConfig")
    assert read_json_config(elsewhere, source="best.pth") == config


@pytest.mark.usefixtures("nothing_imported")
def test_a_class_that_is_called_as_one_of_the_package_is_not_taken_for_it(tiny: Path) -> None:
    values = load_config(tiny).model_dump(mode="json")
    values["head"]["source"] = "/somewhere/else/head.py:HeadConfig"
    with pytest.raises(ConfigError, match="not imported"):
        read_json_config(json.dumps(values), source="best.pth")


def test_a_file_is_executed_once(own: str, tmp_path: Path) -> None:
    first = load_object(own)
    (tmp_path / "executed").unlink()
    assert load_object(own) is first and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.py:Head", r"no file 'nowhere.py'; write path/to/file.py:Name"),
        ("{folder}/own.py:Nothing", r"own.py defines no 'Nothing'"),
        ("{folder}/own.py:Path", r"own.py:Path must be a subclass of Extensible"),
        ("{folder}/wrong.py:Head", r"wrong.py cannot be executed: NameError.*correct the file"),
    ],
)
def test_a_wrong_source_is_named_with_the_fix(tiny: Path, own: str, source: str, message: str) -> None:
    (tiny.parent / "wrong.py").write_text("gone")
    with pytest.raises(ConfigError, match=message):
        load_config(tiny, [f"head={source.format(folder=tiny.parent)}"])


def test_a_class_for_another_part_is_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"CentreHeadConfig must be a subclass of PyramidSettings"):
        load_config(tiny, [HEAD.replace("head=", "pyramid=")])


def test_a_wrong_setting_of_an_own_class_is_named(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="num_convs"):
        load_config(tiny, [HEAD, "head.num_convs=many"])
    with pytest.raises(ConfigError, match="no setting 'head.num_conv'; did you mean 'head.num_convs'"):
        load_config(tiny, [HEAD, "head.num_conv=1"])


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*config.py")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_configs_under_examples_load(path: Path) -> None:
    config = load_config(path)
    assert read_json_config(config.model_dump_json(), source=path) == config


def test_no_file_of_the_package_knows_the_examples() -> None:
    package = EXAMPLES.parent / "re2tal"
    names = {path.stem for path in EXAMPLES.rglob("*.py")} - {"config", "small"}
    for path in package.rglob("*.py"):
        assert not [name for name in names if name in path.read_text()], path


def test_an_extension_error_is_told_without_a_traceback() -> None:
    assert ExtensionError.__module__.startswith("re2tal.")


def test_a_factory_in_a_file_that_a_checkpoint_names_is_not_executed(tiny: Path, tmp_path: Path) -> None:
    factory = {"kind": "factory", "factory": f"{tmp_path}/net.py:make", "out_channels": 4, "size": [16, 16]}
    values = {**load_config(tiny).model_dump(mode="json"), "backbone": factory}
    with pytest.raises(ConfigError, match=r"net.py:make.*code that data names is not executed; give.*--config"):
        read_json_config(json.dumps(values), source="best.pth")
