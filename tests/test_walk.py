"""The walk of docs/own_data.md, from labels in BORIS to a detector trained on corrections: every command, in order."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from re2tal.data.demo import make_demo_set

ROOT = Path(__file__).parents[1]
SHORT = "--cfg-options training.epochs=1 training.warmup_epochs=0 training.eval_from=0"


def commands() -> list[str]:
    walk = (ROOT / "docs/own_data.md").read_text().split("\n## ")[0]
    return [line for block in re.findall(r"```\n(.*?)```", walk, flags=re.DOTALL) for line in block.splitlines()]


@pytest.mark.slow  # two trainings and eleven further commands, each a process of its own
def test_every_command_of_the_walk_runs_in_order(tmp_path: Path) -> None:
    make_folder(tmp_path)
    done = [run(command, tmp_path) for command in commands()]
    assert len(done) >= 13
    both = json.loads((tmp_path / "both.json").read_text())["database"]
    corrected = json.loads((tmp_path / "corrected.json").read_text())["database"]
    assert set(both) == {f"day1/video{n}" for n in range(6)} | {f"day2/{name}" for name in corrected}
    (entry,) = corrected.values()
    assert entry["labelled"] and {row["annotator"] for row in entry["annotations"]} == {"anna"}
    assert both[f"day2/{next(iter(corrected))}"]["labelled"] == entry["labelled"]
    assert "start_from" in (tmp_path / "round2/config.py").read_text()
    assert "kappa" in done[-1]


def make_folder(folder: Path) -> None:
    """Videos of two days, and a project of BORIS on those of the first."""
    make_demo_set(folder / "made", num_train=6, num_test=2)
    database = json.loads((folder / "made/annotations.json").read_text())["database"]
    kept = {}
    for number, (name, entry) in enumerate(sorted(database.items())):
        day = "day1" if number < 6 else "day2"
        target = folder / "my_videos" / day / f"video{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "made/videos" / f"{name}.mp4", target)
        if day == "day1":
            kept[target.stem] = {**entry, "subset": "training"}
    (folder / "day1.json").write_text(json.dumps({"database": kept}))
    run("re2tal export day1.json --format boris --videos my_videos/day1 --out observations.boris", folder)


def run(command: str, folder: Path) -> str:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    words = shlex.split(command)
    if words[1] == "train":
        words += shlex.split(SHORT)
    if words[1] == "review":
        return review([*words, "--no-open", "--annotator", "anna"], folder, environment)
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def review(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a person does, in small: two actions drawn in one video."""
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout as told:
        address = next(line.strip() for line in told if line.startswith("http://"))
        send = _sender(address)
        for number, (start, end) in enumerate([(1.0, 2.5), (4.0, 6.0)]):
            value = {"start": start, "end": end, "label": "jump", "status": "kept"}
            change = {
                "key": f"key-{number}",
                "video": "video6",
                "changes": [{"id": f"n{number}", "base": "", "value": value}],
            }
            assert send({"edits": [change], "annotator": "anna"})["results"] == [{"key": f"key-{number}", "ok": True}]
        process.send_signal(signal.SIGINT)
        said = told.read()
    assert process.returncode == 0 and "2 edits" in said
    return said


def _sender(address: str) -> Callable[[dict[str, Any]], Any]:
    def send(value: dict[str, Any]) -> Any:
        asked = urllib.request.Request(
            f"{address}edits", json.dumps(value).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)

    return send
