"""configs/zoo: a network of a library as the backbone of a whole experiment, in small, by the commands."""

from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.slow  # trains and tests VideoMAE by the commands of docs/reproduce.md
def test_the_dress_rehearsal_of_videomae(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    script = import_module("tools.rehearse")
    script.lay_out(tmp_path, data / "annotations", configs=script.ZOO)
    config = script.ZOO / "e2e_thumos_re2tal_actionformer_videomae.py"
    result = script.rehearse(config, folder=tmp_path, processes=1)
    assert result["num_predictions"] > 0
    assert 0 <= result["average_mAP"] <= 1
