"""`re2tal init --start-from`: a config that goes on from a checkpoint."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from re2tal.common.extension import extension
from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.config.code import SettingsWriter
from re2tal.config.presets import activitynet, demo, demo_swin, thumos
from re2tal.experiments import experiment
from re2tal.experiments.started_config import StartedConfig, started_config
from re2tal.labels import SourceError, choose, load_data_set, measure
from re2tal.training import Processes, RunFolder, save_checkpoint
from tests.tiny_experiment import make_tiny_experiment

CENTRE_HEAD = Path(__file__).parents[2] / "examples" / "head" / "centre_head.py"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_experiment(tmp_path_factory.mktemp("tiny")).parent


@pytest.fixture(scope="module")
def checkpoint(tiny: Path) -> Path:
    folder = RunFolder(tiny / "trained")
    config = load_config(tiny / "tiny.py", ["training.epochs=1", "training.warmup_epochs=0"])
    experiment.train(config, processes=Processes(), folder=folder)
    return folder.best


def init(re2tal: Any, tiny: Path, out: Path, checkpoint: Path, *options: object) -> Any:
    files = ("--annotations", tiny / "annotations.json", "--videos", tiny / "videos")
    return re2tal("init", out, *files, "--start-from", checkpoint, *options)


def test_what_it_writes_has_the_checkpoints_network_and_trains(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(re2tal, tiny, tmp_path / "second", checkpoint) == 0
    assert "2 kept (flash, glow)" in capsys.readouterr().out
    path = tmp_path / "second" / "config.py"
    old, new = load_config(tiny / "tiny.py"), load_config(path)
    for part in ("backbone", "pyramid", "head", "augment"):
        assert getattr(new, part) == getattr(old, part), part
    for part in ("sampling", "crop_size", "short_side_test", "short_side_train"):
        assert getattr(new.data, part) == getattr(old.data, part), part
    assert new.training.start_from == checkpoint.resolve()
    assert re2tal("train", path, "--cfg-options", "training.epochs=1", "training.warmup_epochs=0") == 0
    assert (tmp_path / "second" / "exps" / "gpu1_id0" / "checkpoint" / "best.pth").is_file()


def test_it_trains_for_a_quarter_of_a_fresh_networks_steps(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--annotations", tiny / "annotations.json", "--videos", tiny / "videos")
    assert re2tal("init", tmp_path / "fresh", *files, "--size", "small", "--json") == 0
    fresh = json.loads(capsys.readouterr().out)
    assert init(re2tal, tiny, tmp_path / "second", checkpoint, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["epochs"] == -(-fresh["epochs"] // 4)
    assert told["kept"] == ["flash", "glow"]


def test_renamed_classes_stand_in_the_config(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (tiny / "annotations.json").read_text().replace("glow", "shine")
    (tmp_path / "labels.json").write_text(text)
    options = ("--annotations", tmp_path / "labels.json", "--videos", tiny / "videos", "--start-from", checkpoint)
    assert re2tal("init", tmp_path / "guessed", *options) == 0
    assert "--rename OLD=NEW" in capsys.readouterr().out
    assert re2tal("init", tmp_path / "told", *options, "--rename", "glow=shine") == 0
    assert "2 kept (flash, shine)" in capsys.readouterr().out
    assert load_config(tmp_path / "told" / "config.py").training.start_from_classes == {"glow": "shine"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "small"), "give it alone"),
        (("--rename", "glow"), "OLD=NEW"),
        (("--rename", "glow=nothing"), "the data has no class 'nothing'"),
    ],
)
def test_wrong_calls_end_with_2(
    re2tal: Any,
    tiny: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    assert init(re2tal, tiny, tmp_path / "second", checkpoint, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "second" / "config.py").exists()


def test_no_checkpoint_ends_with_2(re2tal: Any, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(re2tal, tiny, tmp_path / "second", tmp_path / "nowhere.pth") == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"nothing")
    assert init(re2tal, tiny, tmp_path / "second", broken) == 2


@pytest.mark.parametrize(
    "config",
    [
        demo(data=Path("a b/'c'"), backbone=demo_swin(reversible=True)),
        thumos(name='with "quotes"', backbone=demo_swin(reversible=False)),
        activitynet(name="anet", backbone=demo_swin(reversible=True)),
    ],
    ids=["demo", "thumos", "anet"],
)
def test_code_of_settings_means_those_settings(config: ExperimentConfig, tmp_path: Path) -> None:
    writer = SettingsWriter(tmp_path)
    code = writer.code(config)
    names: dict[str, Any] = {}
    exec(f"from pathlib import Path\n{writer.imports({})}\nfound = {code}", names)
    assert names["found"] == config


def test_classes_of_ones_own_are_not_written(tmp_path: Path) -> None:
    head = extension(f"{CENTRE_HEAD}:CentreHeadConfig", num_convs=1)
    with pytest.raises(ConfigError, match="CentreHeadConfig is no class that a package offers"):
        SettingsWriter(tmp_path).code(head)


class TestWhatTheDataAllow:
    """Settings of the checkpoint that do not suit the new videos are changed, and the change is told."""

    def start(self, tiny: Path, folder: Path, *options: str, **measured: Any) -> StartedConfig:
        config = load_config(tiny / "tiny.py", ["augment.flip_probability=0.5", *options])
        path = folder / "best.pth"
        about = experiment.describe_run(config, ("flash", "glow"))
        save_checkpoint(path, {**about, "weights": build_detector(config, num_classes=2).state_dict(), "epoch": 0})
        data = load_data_set(tiny / "annotations.json", videos=tiny / "videos")
        measures = replace(measure(data), **measured)
        fresh = choose(measures, size="small")
        return started_config(path, data, measures, fresh, name="x", folder=folder, renamed={}, memory_mib=1000)

    def test_a_crop_that_videos_do_not_fill(self, tiny: Path, tmp_path: Path) -> None:
        wide = ("data.crop_size=(12,20)", "data.short_side_test=12", "data.short_side_train=18")
        fits = self.start(tiny, tmp_path, *wide, aspect=16 / 9)
        assert fits.config.data.crop_size == (12, 20) and not fits.notes
        upright = self.start(tiny, tmp_path, *wide, aspect=9 / 16, pixels=90 * 160)
        height, width = upright.config.data.crop_size
        assert height > width and upright.config.data.short_side_test == width
        assert upright.config.data.short_side_train == round(width * 18 / 12)
        assert "20 x 12" in upright.notes[0] and upright.notes[0][:20] in upright.text.replace("\n# ", " ")

    def test_names_that_tell_left_from_right(self, tiny: Path, tmp_path: Path) -> None:
        assert self.start(tiny, tmp_path).config.augment.flip_probability == 0.5
        sided = self.start(tiny, tmp_path, class_names=("turn left", "turn right"))
        assert sided.config.augment.flip_probability == 0.0
        assert "no longer mirrored" in sided.notes[0]

    def test_actions_longer_than_the_window(self, tiny: Path, tmp_path: Path) -> None:
        assert "does not fit into a window of 4.0 s" in self.start(tiny, tmp_path, long=5.0).notes[0]

    def test_annealed_coefficients_stay_where_they_ended(self, tiny: Path, tmp_path: Path) -> None:
        annealed = ("backbone.alpha=0.75", "backbone.beta=0.25", "training.anneal_epochs=1")
        config = self.start(tiny, tmp_path, *annealed).config
        assert (config.backbone.alpha, config.training.anneal_epochs) == (0.75, 0)  # as the file does not tell others

    def test_a_backbone_alone_is_no_start(self, tiny: Path, tmp_path: Path) -> None:
        config = load_config(tiny / "tiny.py")
        weights = build_detector(config, num_classes=2).backbone.state_dict()
        save_checkpoint(tmp_path / "best.pth", {"config": config.model_dump_json(), "weights": weights, "epoch": 0})
        data = load_data_set(tiny / "annotations.json", videos=tiny / "videos")
        measures = measure(data)
        with pytest.raises(SourceError, match="best.pth"):
            started_config(
                tmp_path / "best.pth", data, measures, choose(measures, size="small"), name="x", folder=tmp_path,
                renamed={}, memory_mib=0,
            )  # fmt: skip
