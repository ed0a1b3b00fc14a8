"""Experiments of a second, put together from the classes under examples/."""

from collections.abc import Callable
from pathlib import Path

import pytest

from re2tal.config import ExperimentConfig, load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = (
    "data.num_train=4",
    "data.num_test=2",
    "data.sampling.num_steps=32",
    "data.short_side_train=16",
    "data.short_side_test=16",
    "data.crop_size=(16,16)",
    "pyramid.max_steps=32",
    "training.epochs=2",
    "training.eval_from=1",
    "training.batch_size=2",
    "training.log_every=1",
)
BACKBONE = f"backbone={{'source':'{EXAMPLES}/networks/small.py:ConvConfig','out_channels':4,'freeze_norms':False}}"
HEAD = f"head={{'source':'{EXAMPLES}/head/centre_head.py:CentreHeadConfig','num_convs':1}}"

Bursts = Callable[..., ExperimentConfig]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of examples/data/config.py: a tiny experiment on the example backbone, which writes to the test's folder."""
    return [*TINY, BACKBONE, f"work_dir={tmp_path / 'exps'}"]


@pytest.fixture
def bursts(options: list[str]) -> Bursts:
    """The experiment, with further options."""
    return lambda *more: load_config(EXAMPLES / "data/config.py", [*options, *more])
