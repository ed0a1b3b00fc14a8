"""The commands and code of the README and of docs/README.md run, at reduced size, in the order in which they stand."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/README.md")
BLOCKS = [
    block for page in PAGES for block in re.findall(r"```(\w*)\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
]
TREE = "re2tal/\n"

# Each command, and what makes it small. A command of these pages that is not here fails the test, and so does one that
# is here and on neither page.
REDUCED = {
    "make install": "",
    "make demo": "",
    "make test": "",
    "python benchmarks/ways_of_training.py": (
        "--frames 4 --size 32 --depths 1 --repeats 0 --pictures pictures --ways plain checkpoint tiles auto"
    ),
    "re2tal rewire torchvision:r3d_18": "",
    "re2tal plan": "--quick",
    "re2tal show": "",
    "re2tal explain": "",
    "re2tal check-data configs/demo/re2slowfast.py": "",
    "re2tal train configs/demo/re2slowfast.py": "training.eval_from=0",
    "re2tal test configs/demo/re2slowfast.py": "",
    "re2tal predict exps/demo/data/videos": "",
    "re2tal extract exps/demo/data/videos": "",
    "re2tal evaluate": "",
    "re2tal diagnose": "",
    "re2tal report": "",
    "torchrun --nproc_per_node=2 tools/train.py configs/demo/re2slowfast.py": (
        "--cfg-options training.epochs=1 training.warmup_epochs=0.5 training.batch_size=2"
    ),
}


def commands() -> list[str]:
    return [
        line
        for language, block in BLOCKS
        if language == "" and not block.startswith(TREE)
        for line in block.strip().splitlines()
    ]


def python_blocks() -> list[str]:
    return [block for language, block in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name, and the demo run once with a few videos."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("benchmarks", "configs", "tools"):
        shutil.copytree(ROOT / name, folder / name)
    reduced = "re2tal demo --num-train 6 --num-test 2 --cfg-options training.epochs=1 training.warmup_epochs=0.5"
    run(reduced + " training.batch_size=2 training.eval_from=0 data.cache_mib=0", folder)
    return folder


def run(command: str, folder: Path) -> str:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_every_command_is_known_here() -> None:
    assert len(commands()) >= 6
    for command in commands():
        assert any(command.startswith(known) for known in REDUCED), f"tell how to run {command!r} at reduced size"
    for known in REDUCED:
        assert any(command.startswith(known) for command in commands()), f"no page has a command {known!r}"


def test_the_first_commands_are_targets_of_the_makefile() -> None:
    assert [command for command in commands() if command.startswith("make")] == [
        "make install",
        "make demo",
        "make test",
    ]
    printed = subprocess.run(
        ["make", "-n", "install", "demo", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "re2tal demo" in printed and "pytest" in printed


def test_the_readme_is_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_the_readme_lists_every_part_of_the_package() -> None:
    (tree,) = (block for _, block in BLOCKS if block.startswith(TREE))
    parts = {path.parent.name for path in ROOT.glob("re2tal/*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, flags=re.MULTILINE)) == parts


def test_the_demo_writes_what_the_readme_says(checkout: Path) -> None:
    run_folder = checkout / "exps/demo"
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert {"average_mAP", "mAP@0.3", "mAP@0.5", "mAP@0.7"} <= metrics.keys()
    assert all(0 <= value <= 1 for value in metrics.values() if isinstance(value, float))
    detections = json.loads((run_folder / "detections.json").read_text())
    assert len(detections["results"]) == 2
    assert (run_folder / "checkpoint/best.pth").is_file()
    assert (run_folder / "log.txt").stat().st_size > 0
    records = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "evaluation"} <= {record["kind"] for record in records}


SLOW = ("python benchmarks/ways_of_training.py", "re2tal rewire torchvision:r3d_18")  # a minute, half a minute


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if command.startswith(SLOW) else [])
        for command in commands()
        if not command.startswith("make")
    ],
)
def test_command_runs(command: str, checkout: Path) -> None:
    if command.startswith(("re2tal evaluate", "re2tal diagnose")):
        command = command.replace("annotations.json", "exps/demo/data/annotations.json")
        command = command.replace("detections.json", "exps/demo/detections.json")
    if "--cfg-options" in command and command.startswith("re2tal train"):
        command += " training.warmup_epochs=0.5 training.batch_size=2"
    (extra,) = (extra for known, extra in REDUCED.items() if command.startswith(known))
    output = run(f"{command} {extra}", checkout)
    if any(word in command for word in ("test", "evaluate", "diagnose")):
        assert "0.3" in output and "mean" in output


@pytest.mark.parametrize("code", python_blocks())
def test_python_code_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {})
    assert "passed" in capsys.readouterr().out
