"""`re2tal rewire`, and the benchmark of the zoo."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

from re2tal.cli import app
from re2tal.networks.zoo import KNOWN, load, measure

ROOT = Path(__file__).parents[2]
FACTORY = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)
    def forward(self, x):
        return x + self.linear(self.norm(x))

def blocks():
    return nn.Sequential(*(Block() for _ in range(3))), torch.randn(2, 4, 8)

def plain():
    return nn.Linear(8, 8), torch.randn(2, 8)

def alone():
    return nn.Linear(8, 8)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FACTORY)
    return path


def run(*arguments: str) -> int:
    try:
        app(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_network_of_one_s_own_is_rewired_and_told_how_to_use(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rewire", f"{file}:blocks") == 0
    printed = capsys.readouterr().out
    assert re.search(r"mine.py:blocks +3 of 3 +\d\.\de-\d\d +0\.\d\d +\d+\.\d\d", printed)
    assert "Block 0 to 2 (3): 1 branch" in printed and "model = rewire(model, example=example)" in printed


def test_json_is_one_line_with_the_figures(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rewire", f"{file}:blocks", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert {"model", "blocks", "rewired", "gradient_error", "saved_ratio", "time_ratio"} == row.keys()
    assert (row["blocks"], row["rewired"]) == (3, 3) and row["gradient_error"] <= 1e-12


def test_a_network_of_which_nothing_can_be_rewired_ends_with_status_1(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rewire", f"{file}:plain") == 1
    assert "Nothing can be rewired in:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swin3d_t", "cannot tell what network 'swin3d_t' is; write torchvision:NAME"),
        ("timm:", "cannot tell what network 'timm:' is"),
        ("torchvision:swin3d_x", "torchvision has no network 'swin3d_x'; did you mean swin3d_"),
        ("missing.py:blocks", "there is no file missing.py"),
        ("{file}:none", "has no function 'none'; it has Block, blocks, plain, alone"),
        ("{file}:alone", "must return a model and an example of its input"),
    ],
)
def test_wrong_names_are_answered_with_value_and_rule(name: str, message: str, file: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load(name.format(file=file))


def test_wrong_options_are_answered(file: Path) -> None:
    with pytest.raises(ValueError, match="name a network, such as torchvision:swin3d_t"):
        run("rewire")
    with pytest.raises(ValueError, match="--repeats must be at least 1, got 0"):
        run("rewire", f"{file}:blocks", "--repeats", "0")


def test_what_is_known_to_work_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rewire", "--list") == 0
    assert capsys.readouterr().out.split() == list(KNOWN)


def test_a_network_at_full_size_is_found_by_name() -> None:
    network = load("torchvision:mobilenet_v3_small")
    row = measure(network, dtype=torch.float32, repeats=1)
    assert (row.rewired, row.blocks) == (6, 11) and row.gradient_error is not None and row.gradient_error < 1e-2


def test_the_benchmark_prints_a_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["rewire_zoo.py", "--only", "torchvision:vit_b_16", "torchvision:swin_v2_t", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--json"])
    script = import_module("rewire_zoo")
    script.main()
    rows = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in rows] == ["torchvision:vit_b_16", "torchvision:swin_v2_t"]
    assert all(row["rewired"] == row["blocks"] > 0 and row["gradient_error"] <= 1e-10 for row in rows)
    assert all(0 < row["saved_ratio"] < 1 and row["time_ratio"] > 0 for row in rows)
    monkeypatch.setattr("sys.argv", arguments)
    script.main()
    assert "2 networks, 7 of 7 blocks" in capsys.readouterr().out


def test_the_benchmark_takes_published_networks_of_timm_s_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--families", "--only", "timm:starnet", "timm:vgg", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", ["rewire_zoo.py", *arguments])
    import_module("rewire_zoo").main()
    printed = capsys.readouterr().out
    assert re.search(r"^timm:starnet_s1 +15 of 15 +\d\.\de-1\d ", printed, flags=re.MULTILINE)
    assert "timm:vgg11: found no residual block to rewire in VGG: no module adds to what it is given" in printed


def test_the_documentation_s_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/rewiring.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2  # a network of one's own, and a backbone
    for code in blocks:
        exec(compile(code, "docs/rewiring.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert "6 of 6 blocks rewired; blocks in each chain: 6" in printed and "passed" in printed
