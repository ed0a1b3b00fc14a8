"""Whether a number that is not finite is traced to what made it, and whether precisions and seeds keep their promises.

    python stress/faults.py

Injections: one number at a random place (of a module's or branch's result, of the gradient behind a module, of a
parameter, of stored features that are trained from) becomes nan or infinite in a step of training, in detectors whose
backbones are plain, checkpointed, rewired in tiles and in whole branches. The error and the file that the step leaves
must name that place and the clips. What reaches neither loss nor gradients (a bias of -inf in front of a ReLU, say)
is counted apart. Precision: the demo in small trains in float32, bfloat16 and float16 with a scaler; losses must end
alike. Seeds: runs of one seed must end with the same bits, runs of two must not. Ends with status 1 if a promise is
broken.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, PixelClip, TimeGrid
from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo, demo_slowfast, demo_swin
from re2tal.data.demo import make_demo_set
from re2tal.experiments import experiment
from re2tal.experiments.planning.dry_run import NoBatches
from re2tal.reversible import Branch
from re2tal.reversible.debug.hooks import NamedTensors, watching
from re2tal.reversible.observers import observed_by
from re2tal.training import (
    Processes,
    RunFolder,
    Trainer,
    TrainingError,
    load_anomaly,
    load_checkpoint,
)

STEPS = 128
NETWORKS = ("plain", "checkpointed", "in tiles", "whole branches")
KINDS = ("result", "branch", "gradient", "parameter", "features")
HARMLESS = "harmless"


# Injections


def network(kind: str, way: str) -> nn.Module:
    """A detector with a small backbone, in training mode."""
    backbone = (demo_slowfast if kind == "slowfast" else demo_swin)(reversible=way in NETWORKS[2:])
    changes: dict[str, Any] = {"activation_checkpointing": way == "checkpointed"}
    changes |= {"drop_path": 0.3} if kind == "swin" else {}
    changes |= {"tile_mib": "off" if way == "whole branches" else 0.05} if backbone.reversible else {}
    config = demo(data=Path("unused"), backbone=backbone.model_copy(update=changes))
    return build_detector(config, num_classes=3).train()


def clips(generator: torch.Generator) -> Batch:
    """Two clips of noise."""
    grid = TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=float(STEPS))
    return Batch.stack(
        [
            PixelClip(
                video_id=f"clip{number}",
                frames=torch.randint(0, 256, (3, STEPS, 16, 16), dtype=torch.uint8, generator=generator),
                mask=torch.ones(STEPS, dtype=torch.bool),
                grid=grid,
                segments=torch.tensor([[10.0, 30.0], [60.0, 100.0]]),
                labels=torch.tensor([number, 2]),
            )
            for number in range(2)
        ]
    )


def trainer_of(model: nn.Module, folder: Path) -> Trainer:
    config = demo(data=Path("unused")).training.model_copy(update={"batch_size": 2})
    about = {"config": "{}", "class_names": ["a", "b", "c"]}
    return Trainer(
        model, config=config, loader=NoBatches(), processes=Processes(), folder=RunFolder(folder), about=about
    )


class Places:
    """Where a step passes, and where gradients come back."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.differentiated: set[str] = set()

    def enter(self, place: str, given: NamedTensors, around: object) -> None:
        pass

    def leave(self, place: str, result: NamedTensors, entered: object) -> None:
        self.passed |= {place} if result else set()
        for _, tensor in result:
            if tensor.requires_grad:
                tensor.register_hook(lambda _, place=place: self.differentiated.add(place))


class Infect(torch.autograd.Function):
    """Hands on what it is given, with one number of the result or of the gradient spoiled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: float, in_gradient: bool) -> Tensor:
        ctx.value, ctx.in_gradient = value, in_gradient
        return x.clone() if in_gradient else spoiled(x, value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return spoiled(gradient, ctx.value) if ctx.in_gradient else gradient, None, None


def spoiled(x: Tensor, value: float) -> Tensor:
    y = x.detach().clone(memory_format=torch.contiguous_format)
    y.view(-1)[y.numel() // 2] = value
    return y


@contextmanager
def infected(module: nn.Module, value: float, *, in_gradient: bool) -> Iterator[None]:
    """Inside, the module's own computation ends with one bad number."""
    forward = module.forward

    def of(result: object) -> object:
        if isinstance(result, Tensor) and result.is_floating_point():
            return Infect.apply(result, value, in_gradient)
        if isinstance(result, dict):
            return {name: of(item) for name, item in result.items()}
        return type(result)(of(item) for item in result) if isinstance(result, tuple | list) else result

    module.__dict__["forward"] = lambda *args, **kwargs: of(forward(*args, **kwargs))
    try:
        yield
    finally:
        del module.__dict__["forward"]


@dataclass
class InfectBranch:
    """One bad number in what a branch makes of a tile, in the forward pass, where it has no graph."""

    branch: Branch
    value: float

    def begins(self, branch: Branch, x: Tensor) -> None:
        pass

    def ended(self, branch: Branch, f: Tensor) -> None:
        if branch == self.branch and not f.requires_grad:
            f.view(-1)[f.numel() // 2] = self.value


@dataclass
class Branches:
    """Those that ran."""

    found: list[Branch]

    def begins(self, branch: Branch, x: Tensor) -> None:
        if branch not in self.found:
            self.found.append(branch)

    def ended(self, branch: Branch, f: Tensor) -> None:
        pass


@dataclass(frozen=True)
class Bench:
    """A network to spoil."""

    name: str
    trainer: Trainer
    batch: Batch
    places: Places
    branches: list[Branch]

    @staticmethod
    def build(kind: str, way: str, folder: Path, seed: int) -> "Bench":
        torch.manual_seed(seed)
        model = network(kind, way)
        batch = clips(torch.Generator().manual_seed(seed))
        places, branches = Places(), Branches([])
        trainer = trainer_of(model, folder / f"{kind} {way}")
        with watching(model, places), observed_by(branches):
            model(batch)["loss"].backward()
        return Bench(f"{kind}, {way}", trainer, batch, places, branches.found)

    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if kind != "branch" or self.branches]

    def inject(self, kind: str, draw: random.Random) -> tuple[str, str]:
        """Spoil a step; returns what should be named and what was."""
        model, batch = self.trainer.model, self.batch
        modules = {name or type(model).__name__: module for name, module in model.named_modules()}
        value = draw.choice([float("nan"), float("inf"), float("-inf")])
        match kind:
            case "result":
                place = draw.choice(sorted(self.places.passed & modules.keys()))
                with infected(modules[place], value, in_gradient=False):
                    return place, self.named(batch)
            case "gradient":
                place = draw.choice(sorted(self.places.differentiated & modules.keys()))
                with infected(modules[place], value, in_gradient=True):
                    return place, self.named(batch)
            case "branch":
                branch = draw.choice(self.branches)
                names = {id(module): name for name, module in model.named_modules()}
                names |= {
                    id(module._branch.owner): names[id(module)] for module in model.modules() if _is_local(module)
                }
                expected = names[id(branch.owner)] + (f" ({', '.join(branch.uses)})" if branch.uses else "")
                with observed_by(InfectBranch(branch, value)):
                    return expected, self.named(batch)
            case "parameter":
                name = draw.choice(sorted(dict(model.named_parameters())))
                return name, self.with_spoiled_parameter(name, value)
            case _:
                features = torch.zeros(len(batch), int(model.backbone.out_channels), STEPS)
                return "input.features", self.named(batch.features_by(lambda _: spoiled(features, value)))

    def with_spoiled_parameter(self, name: str, value: float) -> str:
        parameter = self.trainer.model.get_parameter(name)
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.copy_(spoiled(before, value))
        try:
            return self.named(self.batch)
        finally:
            with torch.no_grad():
                parameter.copy_(before)

    def named(self, batch: Batch) -> str:
        """What the error and the file of a step name."""
        folder = self.trainer.folder.path / "faults"
        try:
            self.trainer.step([batch])
        except TrainingError as error:
            (path,) = folder.iterdir()
            content, _ = load_anomaly(path)
            path.unlink()
            place = str((content["origin"] or {"place": "nothing"})["place"])
            return place if place in str(error) and "clip0, clip1" in str(error) else f"not in the error: {place}"
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        return HARMLESS if all(grad.isfinite().all() for grad in gradients) else "no fault was noticed"


def _is_local(module: nn.Module) -> bool:
    return type(module).__name__ == "LocalModule"


def inject(count: int, *, seed: int, tell: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Spoil `count` steps; a row for each network and kind of fault, with what was named wrongly."""
    draw = random.Random(seed)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        benches = [Bench.build(kind, way, Path(folder), seed) for kind in ("slowfast", "swin") for way in NETWORKS]
        jobs = [(bench, kind) for bench in benches for kind in bench.kinds()]
        for number in range(count):
            bench, kind = jobs[number % len(jobs)]
            expected, named = bench.inject(kind, draw)
            fresh = {"network": bench.name, "fault": kind, "count": 0, "harmless": 0, "wrong": []}
            row = rows.setdefault((bench.name, kind), fresh)
            row["harmless" if named == HARMLESS else "count"] += 1
            if named not in (expected, HARMLESS):
                row["wrong"].append(f"{expected}: {named}")
                tell(f"  {bench.name}, {kind}: in {expected}, named {named}")
    return list(rows.values())


# Precision and seeds


def run(config: ExperimentConfig, folder: Path, *, evaluate: bool) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Weights after training, and the lines of its metrics."""
    found = RunFolder(folder)
    experiment.train(config, processes=Processes(), folder=found, evaluate=evaluate)
    weights = load_checkpoint(found.epoch(config.training.epochs - 1))["training_weights"]
    return weights, [json.loads(line) for line in found.metrics.read_text().splitlines()]


def settings(data: Path, *changes: str, **options: Any) -> ExperimentConfig:
    return override(demo(data=data, **options), ["training.log_every=1", *changes])


def precisions(data: Path, folder: Path, *, epochs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each precision."""
    rows: list[dict[str, Any]] = []
    for amp in ("none", "bf16", "fp16"):
        config = settings(data, f"training.amp={amp}", f"training.seed={seed}", epochs=epochs)
        _, lines = run(config, folder / amp, evaluate=True)
        steps = [line for line in lines if line["kind"] == "step"]
        last = [line["loss"] for line in steps if line["epoch"] == epochs - 1]
        row = {"amp": amp, "first_loss": steps[0]["loss"], "last_epoch_loss": mean(last)}
        row["average_mAP"] = next(line["average_mAP"] for line in lines if line["kind"] == "evaluation")
        row["left_out"] = sum(line["gradient_norm"] is None for line in steps)
        row["reconstruction_error"] = max(line["reconstruction_error"] for line in steps)
        reference = rows[0] if rows else row
        row["passed"] = (
            abs(row["last_epoch_loss"] / reference["last_epoch_loss"] - 1) < 0.1
            and row["last_epoch_loss"] < 0.7 * row["first_loss"]
            and row["reconstruction_error"] == 0
        )
        rows.append(row)
    return rows


def seeds(data: Path, folder: Path, *, seed: int) -> list[dict[str, Any]]:
    """A row for each pair of runs: whether they ended with the same bits."""
    swin = demo_swin(reversible=True).model_copy(update={"drop_path": 0.3})
    threads = torch.get_num_threads()
    rows = []
    for name, backbone in (("slowfast", demo_slowfast(reversible=True)), ("swin, drop path", swin)):
        for count in (1, 2):
            torch.set_num_threads(count)

            def weights(*changes: str, which: str, backbone: Any = backbone) -> dict[str, Tensor]:
                return run(settings(data, *changes, backbone=backbone, epochs=2), folder / which, evaluate=False)[0]

            first = weights(f"training.seed={seed}", which=f"{name} {count} a")
            again = weights(f"training.seed={seed}", "training.num_workers=2", which=f"{name} {count} b")
            other = weights(f"training.seed={seed + 1}", which=f"{name} {count} c")
            row = {"network": name, "threads": count, "same_seed_is_same": _are_same(first, again)}
            row["other_seed_is_same"] = _are_same(first, other)
            rows.append({**row, "passed": row["same_seed_is_same"] and not row["other_seed_is_same"]})
    torch.set_num_threads(threads)
    return rows


def _are_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


# Told


def show(
    injected: Sequence[dict[str, Any]], precise: Sequence[dict[str, Any]], seeded: Sequence[dict[str, Any]]
) -> None:
    print(f"{'network':<26} {'fault in':<10} {'named':>7}  harmless")
    for row in injected:
        right = row["count"] - len(row["wrong"])
        print(f"{row['network']:<26} {row['fault']:<10} {right:>3} of {row['count']:<2} {row['harmless']:>6}")
    total, wrong = sum(row["count"] for row in injected), sum(len(row["wrong"]) for row in injected)
    print(f"{total - wrong} of {total} named; {sum(row['harmless'] for row in injected)} harmless")
    print("\namp   first loss  loss of last epoch  average mAP  steps left out  worst stream error")
    for row in precise:
        print(
            f"{row['amp']:<5} {row['first_loss']:10.3f} {row['last_epoch_loss']:19.3f} {row['average_mAP']:11.1%} "
            f"{row['left_out']:15} {row['reconstruction_error']:19.1e}"
        )
    print("\nnetwork           threads  same seed  other seed")
    for row in seeded:
        same, other = ("same bits" if row[key] else "differs" for key in ("same_seed_is_same", "other_seed_is_same"))
        print(f"{row['network']:<17} {row['threads']:7}  {same:<9}  {other}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=228, help="injections")
    parser.add_argument("--videos", type=int, default=24, help="to train on in every precision and from every seed")
    parser.add_argument("--epochs", type=int, default=10, help="in every precision")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("re2tal").setLevel(logging.ERROR)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    injected = inject(options.count, seed=options.seed, tell=tell)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_demo_set(folder / "data", seed=options.seed, num_train=options.videos, num_test=12)
        precise = precisions(folder / "data", folder, epochs=options.epochs, seed=options.seed)
        make_demo_set(folder / "few", seed=options.seed, num_train=8, num_test=1)
        seeded = seeds(folder / "few", folder, seed=options.seed)
    passed = not any(row["wrong"] for row in injected) and all(row["passed"] for row in [*precise, *seeded])
    if options.json:
        rows = {"injections": injected, "precisions": precise, "seeds": seeded}
        print(json.dumps({**rows, "passed": passed}))
    else:
        show(injected, precise, seeded)
        print("\nall promises kept" if passed else "\nA PROMISE IS BROKEN")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
