"""Dress rehearsal: the commands of docs/reproduce.md on a small folder laid out exactly as the configs expect.

    python tools/rehearse.py [--out exps/rehearsal] [--configs e2e_thumos_*] [--zoo] [--processes 2] [--json]

Writes real annotation entries, videos of their durations with invented pictures, class list, classifier, and pretrained
weights under the published names and in the published layout, at reduced sizes. Then, for every config of
configs/re2tal (with --zoo, of configs/zoo), under torchrun and with sizes reduced by --cfg-options alone: check-data,
two epochs of training with evaluation, the second again by --resume, a test of `best.pth`, and `re2tal evaluate` of
the detections. It stops at the first thing that is not as it should be. The annotations are looked for in the folder
RE2TAL_DATA.
"""

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from re2tal.config import ExperimentConfig, load_config
from re2tal.networks.backbones import build_backbone
from re2tal.video import write_video

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs" / "re2tal"
ZOO = REPOSITORY / "configs" / "zoo"
DATA = Path(os.environ.get("RE2TAL_DATA", REPOSITORY / "../shared/data"))

NUM_VIDEOS = {"training": 5, "validation": 3}
FPS = {"thumos": 30, "anet": 15}
SIZE = (36, 48)
"""Height and width of the rehearsal's videos."""

REDUCED = {
    "all": [
        "data.short_side_train=36",
        "data.short_side_test=32",
        "data.crop_size=(32,32)",
        "pyramid.channels=32",
        "training.epochs=2",
        "training.warmup_epochs=1",
        "training.eval_from=0",
        "training.eval_every=1",
        "training.checkpoint_every=1",
        "training.log_every=1",
        "training.num_workers=1",
    ],
    "thumos": ["data.sampling.num_steps=32", "pyramid.max_steps=32"],
    "anet": ["data.sampling.num_steps=32", "pyramid.max_steps=32", "training.batch_size=4"],
    "swin_tiny": ["backbone.embed_dim=12", "backbone.depths=(2,2,2,2)", "backbone.num_heads=(1,2,3,6)"],
    "slowfast101": ["backbone.blocks=(2,2,2,2)", "backbone.slow.base_channels=8", "backbone.fast.base_channels=2"],
    "videomae": [
        "backbone.options={'image_size': 32, 'patch_size': 16, 'hidden_size': 24, 'num_hidden_layers': 2, "
        "'num_attention_heads': 2, 'intermediate_size': 48}",
        "backbone.out_channels=24",
        "backbone.size=(32,32)",
        "training.anneal_epochs=2",
    ],
    "vjepa2": [
        "backbone.options={'crop_size': 32, 'patch_size': 16, 'hidden_size': 24, 'num_hidden_layers': 2, "
        "'num_attention_heads': 2, 'pred_hidden_size': 24, 'pred_num_hidden_layers': 1}",
        "backbone.out_channels=24",
        "backbone.size=(32,32)",
        "training.anneal_epochs=2",
    ],
}
"""The only settings in which the rehearsal differs from the performance."""


def options_of(config: Path) -> list[str]:
    """The --cfg-options of a config file, by the parts of its name."""
    return [option for part, options in REDUCED.items() if part in {"all", *parts_of(config)} for option in options]


def parts_of(config: Path) -> tuple[str, str]:
    """Data set and network in the name of a config file."""
    found = re.fullmatch(
        r"e2e_(thumos|anet)_(?:re2tal_)?actionformer_(swin_tiny|slowfast101|videomae|vjepa2)", config.stem
    )
    if found is None:
        raise ValueError(f"{config} is none of the experiments; their names begin with e2e_thumos_ or e2e_anet_")
    return found[1], found[2]


# The data folder


def lay_out(folder: Path, annotations: Path, *, configs: Path = CONFIGS) -> None:
    """Write `folder/data` and `folder/pretrained`; `annotations` holds the real annotation files."""
    _lay_out_thumos(folder / "data" / "thumos-14", annotations / "thumos14" / "thumos14.json")
    _lay_out_activitynet(folder / "data" / "activitynet-1.3", annotations / "activitynet")
    for path in configs.glob("*.py"):
        write_pretrained(folder, load_config(path, options_of(path)))


def _lay_out_thumos(folder: Path, source: Path) -> None:
    entries = json.loads(source.read_text(encoding="utf-8"))["database"]
    labels = sorted({row["label"] for entry in entries.values() for row in entry["annotations"]} - {"Ambiguous"})
    database = {}
    for subset, name in (("training", "Validation"), ("validation", "Test")):
        chosen = sorted((entry["duration"], key) for key, entry in entries.items() if entry["subset"] == name)
        for duration, key in chosen[: NUM_VIDEOS[subset]]:
            frames = round(duration * FPS["thumos"])
            database[key] = {**entries[key], "subset": subset, "frame": frames}
            _film(folder / "raw_data/video" / f"{key}.mp4", database[key], num_frames=frames, fps=FPS["thumos"])
    _write(folder / "annotations/thumos_14_anno.json", json.dumps({"database": database}))
    _write(folder / "annotations/category_idx.txt", "\n".join(labels) + "\n")


def _lay_out_activitynet(folder: Path, source: Path) -> None:
    entries = json.loads((source / "anet_anno_action.json").read_text(encoding="utf-8"))
    with (source / "video_info_new.csv").open(encoding="utf-8") as file:
        subsets = {row["video"]: row["subset"] for row in csv.DictReader(file)}
    blocked = json.loads((source / "blocked.json").read_text(encoding="utf-8"))
    names = (source / "action_name.csv").read_text(encoding="utf-8").splitlines()[1:]
    videos = folder / "raw_data/Anet_videos_15fps_short256"
    database: dict[str, Any] = {}
    for subset, count in NUM_VIDEOS.items():
        candidates = sorted((entry["duration_second"], key) for key, entry in entries.items())
        chosen = [key for seconds, key in candidates if seconds > 8 and subsets[key] == subset]
        # One more that has no file, as some of the real ones have disappeared.
        for key in chosen[: count + 1]:
            database[key.removeprefix("v_")] = {
                "subset": subset,
                "duration": entries[key]["duration_second"],
                "annotations": entries[key]["annotations"],
            }
            frames = round(entries[key]["duration_second"] * FPS["anet"])
            if key != chosen[count]:
                _film(videos / f"{key}.mp4", database[key.removeprefix("v_")], num_frames=frames, fps=FPS["anet"])
            else:
                with (videos / "missing_files.txt").open("a", encoding="utf-8") as file:
                    file.write(key.removeprefix("v_") + "\n")
    _write(folder / "annotations/activity_net.v1-3.min.json", json.dumps({"database": database}))
    _write(folder / "annotations/blocked.json", json.dumps(blocked))
    scores = {key: _classified(entry, names) for key, entry in database.items() if entry["subset"] == "validation"}
    _write(folder / "classifiers/cuhk_val_simp_7.json", json.dumps({"results": scores, "class": names}))


def _classified(entry: dict[str, Any], names: Sequence[str]) -> list[float]:
    """Scores of a classifier that is nearly always right."""
    scores = np.full(len(names), 0.001)
    scores[names.index(entry["annotations"][0]["label"])] = 0.8
    return scores.tolist()


def _film(path: Path, entry: dict[str, Any], *, num_frames: int, fps: int) -> None:
    """A video of noise that is brighter while an action lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spans = [(start * fps, end * fps) for start, end in (row["segment"] for row in entry["annotations"])]
    rng = np.random.default_rng(num_frames)

    def frames() -> Iterator[np.ndarray]:
        for index in range(num_frames):
            acts = any(start <= index < end for start, end in spans)
            yield rng.integers(0, 128, (*SIZE, 3), dtype=np.uint8) + np.uint8(100 * acts)

    write_video(path, frames(), fps=fps, crf=40)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# The pretrained weights


def write_pretrained(folder: Path, config: ExperimentConfig) -> None:
    """The file that `config` starts from, with random values, as the reference's programs, or the library's class,
    would have written it."""
    if config.backbone.pretrained is None:
        raise ValueError(f"{config.name} names no pretrained weights; give backbone.pretrained a path")
    torch.manual_seed(0)
    network = build_backbone(config.backbone).network
    if config.backbone.kind == "factory":
        state = {name.removeprefix("net."): value for name, value in network.state_dict().items()}
    else:
        rename = {"swin": _swin_name, "slowfast": _slowfast_name}[config.backbone.kind]
        state = {
            f"backbone.{rename(name, rewired=config.backbone.reversible)}": value
            for name, value in network.state_dict().items()
        }
        state |= {"cls_head.fc_cls.weight": torch.zeros(400, 8), "cls_head.fc_cls.bias": torch.zeros(400)}
    path = folder / config.backbone.pretrained
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "meta": {"epoch": 30}}, path)


def _swin_name(name: str, *, rewired: bool) -> str:
    """torchvision's name of a tensor -> the reference's."""
    if found := re.fullmatch(r"features\.(\d+)\.(.*)", name):
        stage, rest = divmod(int(found[1]), 2), found[2]
        name = f"layers.{stage[0]}." + (f"downsample.{rest}" if stage[1] else f"blocks.{rest}")
    name = name.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.")
    if rewired:
        name = re.sub(r"(blocks\.\d+)\.(norm1|attn)\.", r"\1.inv_block.Fm.\2.", name)
        name = re.sub(r"(blocks\.\d+)\.(norm2|mlp)\.", r"\1.inv_block.Gm.\2.", name)
    return re.sub(r"^norm\.", "norm3.", name)


def _slowfast_name(name: str, *, rewired: bool) -> str:
    """Our name of a tensor -> the reference's."""
    if rewired:
        name = re.sub(r"(layer\d)\.0\.conv", r"\1.blocks.0.Fm.conv", name)
        name = re.sub(r"(layer\d)\.0\.downsample", r"\1.blocks.0.downsample", name)
        name = re.sub(r"(layer\d)\.([1-9]\d*)\.conv", r"\1.blocks.\2.inv_block.Fm.conv", name)
    return name


# The commands


def rehearse(config: Path, *, folder: Path, processes: int) -> dict[str, Any]:
    """Train, resume, test and evaluate one experiment in `folder`; what came out, once it has been checked."""
    settings = load_config(config, options_of(config))
    options = ["--cfg-options", *options_of(config)]
    runs = [folder / settings.work_dir / f"gpu{processes}_id{number}" for number in (0, 1)]
    for run in runs:
        shutil.rmtree(run, ignore_errors=True)
    start = time.monotonic()
    call([sys.executable, "-m", "re2tal", "check-data", str(config), *options], folder=folder)
    torchrun("train.py", [str(config), *options], folder=folder, processes=processes)
    checkpoints = runs[0] / "checkpoint"
    resume = ["--id", "1", "--resume", str(checkpoints / "epoch_0.pth")]
    torchrun("train.py", [str(config), *resume, *options], folder=folder, processes=processes)
    ends = [torch.load(run / "checkpoint" / "epoch_1.pth", weights_only=True) for run in runs]
    for name, value in ends[0]["weights"].items():
        require(torch.equal(value, ends[1]["weights"][name]), f"{name} differs after resuming")
    best = torch.load(checkpoints / "best.pth", weights_only=True)
    tested = ["--checkpoint", str(checkpoints / "best.pth"), *options]
    torchrun("test.py", [str(config), *tested], folder=folder, processes=processes)
    metrics = json.loads((runs[0] / "metrics.json").read_text(encoding="utf-8"))
    tested = {name: metrics.get(name) for name in best["metrics"]}
    require(tested == best["metrics"], f"testing best.pth gave {tested}, training said {best['metrics']}")
    again = evaluate(settings, runs[0] / "detections.json", folder=folder)
    for name, value in tested.items():
        require(abs(again[name] - value) < 1e-9, f"re2tal evaluate gives {name} {again[name]}, testing gave {value}")
    records = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "step"]
    return {
        "config": config.stem,
        "processes": processes,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "average_mAP": metrics["average_mAP"],
        "best_epoch": best["epoch"],
        "num_predictions": again["num_predictions"],
        "seconds": round(time.monotonic() - start, 1),
    }


def evaluate(config: ExperimentConfig, detections: Path, *, folder: Path) -> dict[str, Any]:
    """What `re2tal evaluate` says of a file of detections."""
    subset = next(name for name in (config.data.test_subset, *config.data.test_subset) if name == "validation")
    command = [sys.executable, "-m", "re2tal", "evaluate", "--json", "--subset", subset]
    command += ["--ground-truth", str(config.data.annotations), "--predictions", str(detections)]
    command += ["--tious", ",".join(map(str, config.evaluation.tious))]
    if isinstance(config.evaluation.blocked, Path):
        command += ["--blocked", str(config.evaluation.blocked)]
    return json.loads(call(command, folder=folder))


def torchrun(tool: str, arguments: Sequence[str], *, folder: Path, processes: int) -> None:
    """Run a tool of this folder as the page says."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc_per_node={processes}"]
    launcher += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"]
    call([*launcher, str(REPOSITORY / "tools" / tool), *arguments], folder=folder)


def call(command: Sequence[str], *, folder: Path) -> str:
    """Run a command in `folder`; its standard output. What it said is shown if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def require(condition: bool, message: str) -> None:
    """Stop the rehearsal if something is not as it should be."""
    if not condition:
        raise RuntimeError(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("exps/rehearsal"))
    parser.add_argument("--configs", default="*", help="which of them, as a pattern without .py")
    parser.add_argument("--zoo", action="store_true", help="of configs/zoo instead")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    home = ZOO if args.zoo else CONFIGS
    configs = sorted(home.glob(f"{args.configs}.py"))
    require(bool(configs), f"no config in {home} matches {args.configs!r}")
    folder = args.out.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder, DATA / "annotations", configs=home)
    results = []
    for number, config in enumerate(configs, start=1):
        results.append(rehearse(config, folder=folder, processes=args.processes))
        print(f"{number}/{len(configs)} {results[-1]}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps(results))
        return
    print("| config | loss, first to last step | detections | seconds |\n|---|---|---|---|")
    for row in results:
        losses = f"{row['first_loss']:.2f} to {row['last_loss']:.2f}"
        print(f"| {row['config']} | {losses} | {row['num_predictions']} | {row['seconds']} |")


if __name__ == "__main__":
    main()
