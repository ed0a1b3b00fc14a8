"""Run a case: build its network, modify it, train it for a few steps, and keep everything that can be seen."""

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modifying.hooks import kept
from modifying.networks import Spec, blocks_of, build, draw_spec, two_streams
from modifying.site import Site
from modifying.table import AFTER, BEFORE, BETWEEN, DURING, MODIFICATIONS, Planned
from re2tal.reversible import report_of, rewire, set_coefficients, set_mode, unrewire

LEARNING_RATE = 0.05


@dataclass(frozen=True)
class Case:
    """A network, what is done to it, and when."""

    number: int
    spec: Spec
    modifications: tuple[Planned, ...]
    steps: int
    input_needs_gradient: bool
    with_example: bool
    """Whether `rewire` is given one; torchvision's Swin blocks in an nn.Sequential need none."""

    @property
    def changes_blocks(self) -> bool:
        return any(MODIFICATIONS[planned.name].changes_blocks for planned in self.modifications)

    def at(self, moment: str, *, step: int = 0) -> list[Planned]:
        """What is done then."""
        return [p for p in self.modifications if p.moment == moment and (moment in (BEFORE, AFTER) or p.step == step)]


@dataclass(frozen=True)
class Way:
    """How the network of a case is run."""

    kind: str
    """ "plain", "two streams" or "rewired"."""
    alpha: float = 1.0
    beta: float = 0.0
    mode: str = "reversible"
    reversible: tuple[int, ...] = ()
    """For "two streams": places of the blocks that are in chains."""
    deferred: bool = False
    """Do what would be done between forward and backward behind the latter."""


@dataclass
class Trace:
    """All that was seen of a run, until its end or an error."""

    values: dict[str, Any] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    """How large values like this are in all, where one may vanish."""
    error: Exception | None = None
    stage: str = ""
    """What was under way."""
    warnings: list[str] = field(default_factory=list)
    reversible: tuple[int, ...] = ()
    """Places of the blocks that are in chains."""


def draw_case(number: int) -> Case:
    """The case of a number: always the same."""
    draw = random.Random(number)
    spec = draw_spec(draw)
    steps = draw.choice((2, 3))
    planned = []
    for _ in range(draw.choices((0, 1, 2, 3, 4), (1, 4, 3, 2, 1))[0]):
        name = draw.choice(list(MODIFICATIONS))
        moment = draw.choice(MODIFICATIONS[name].moments)
        step = draw.randrange(1, steps) if moment == BETWEEN else draw.randrange(steps)
        planned.append(Planned(name, moment, step, draw.randrange(2**31)))
    if any("checkpointed" in given.name for given in planned):
        # A checkpoint computes again with what is there then, without a word: torch's own limit.
        planned = [p for p in planned if p.moment != DURING and p.name != "functional call"]
    return Case(
        number=number,
        spec=spec,
        modifications=tuple(planned),
        steps=steps,
        input_needs_gradient=draw.random() < 0.5,
        with_example=spec.family not in ("windows", "clips") or spec.layout == "loop" or draw.random() < 0.5,
    )


def run(case: Case, way: Way) -> Trace:
    """Run it, in one way."""
    trace = Trace()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            _Run(case, way, trace).all()
        except Exception as error:
            trace.error = error
    trace.warnings = list(dict.fromkeys(str(warning.message) for warning in warned))
    return trace


class _Run:
    def __init__(self, case: Case, way: Way, trace: Trace) -> None:
        self.case, self.way, self.trace = case, way, trace
        torch.manual_seed(case.spec.seed + 1)
        example = torch.randn(case.spec.shape, dtype=torch.float64)
        self.site = Site(build(case.spec), spec=case.spec, example=example)

    def all(self) -> None:
        site, case, trace = self.site, self.case, self.trace
        trace.stage = "before rewire"
        for planned in case.modifications:
            planned.prepare(site)
        self.modify(case.at(BEFORE))
        if self.way.kind == "rewired":
            trace.stage = "rewire"
            self.rewire()
            site.rewire_again = self.rewire_again
        trace.stage = "after rewire"
        self.modify(case.at(AFTER))
        for step in range(case.steps):
            self.step(step)
        self.keep_the_end()

    def modify(self, planned: Sequence[Planned]) -> None:
        for modification in planned:
            modification.apply(self.site)

    def rewire(self) -> None:
        """What hooks see, and modules count in plain numbers, when the example is run is as documented: left out."""
        site, counters = self.site, self.site.counters()
        lists = [*site.seen.values(), *site.scratches, site.collected]
        lengths = [len(entries) for entries in lists]
        site.network = rewire(site.network, example=site.example.clone() if self.case.with_example else None)
        set_coefficients(site.network, alpha=self.way.alpha, beta=self.way.beta)
        set_mode(site.network, self.way.mode)
        report, blocks = report_of(site.network), blocks_of(site.network)
        if report is None:
            self.trace.reversible = tuple(range(len(blocks)))
        else:
            rewired = {site.network.get_submodule(entry.name) for entry in report.blocks if entry.reason is None}
            self.trace.reversible = tuple(place for place, block in enumerate(blocks) if block in rewired)
        for module, calls in counters.items():
            module.calls = calls
        for entries, length in zip(lists, lengths, strict=True):
            del entries[length:]

    def rewire_again(self) -> None:
        unrewire(self.site.network)
        self.rewire()

    def step(self, step: int) -> None:
        case, site, trace = self.case, self.site, self.trace
        trace.stage = f"between steps, before step {step}"
        if step:
            self.modify(case.at(BETWEEN, step=step))
            for later in site.later:
                later()
            site.later.clear()
        trace.stage = f"forward of step {step}"
        inputs, losses = [], []
        for index in range(2 if site.schedule in ("in order", "reversed", "summed") else 1):
            x = self.input(step, index)
            torch.manual_seed(10 * step + index)
            y = self.call(x)
            trace.values[f"step {step}: output {index}"] = kept(y)
            inputs.append(x)
            losses.append(self.loss(y))
        trace.values[f"step {step}: losses"] = [kept(loss) for loss in losses]
        if not self.way.deferred:
            self.modify(case.at(DURING, step=step))
        trace.stage = f"backward of step {step}"
        self.backward(losses, inputs)
        for look in site.after_backward:
            look()
        if self.way.deferred:
            self.modify(case.at(DURING, step=step))
        trace.values[f"step {step}: the next random number"] = torch.rand(())
        self.learn(step, inputs, is_finite=all(bool(loss.isfinite()) for loss in losses))

    def call(self, x: Tensor) -> Tensor:
        site = self.site
        if self.way.kind == "two streams":
            return two_streams(site.network, x, reversible=self.way.reversible)
        return site.network(x) if site.call is None else site.call(site.network, x)

    def input(self, step: int, index: int) -> Tensor:
        shape = self.case.spec.shape
        kind = self.site.inputs if step == 1 else "finite"
        if kind == "other batch":
            shape = (3, *shape[1:])
        if kind == "other size":
            channels_first = self.case.spec.family in ("series", "pictures")
            shape = (*shape[:-1], shape[-1] + 2) if channels_first else (*shape[:-2], shape[-2] + 2, shape[-1])
        torch.manual_seed(self.case.spec.seed + 100 * step + index)
        x = torch.randn((0, *shape[1:]) if kind == "empty" else shape, dtype=torch.float64)
        if kind == "large":
            x *= 1000
        if "nan" in kind:
            x[0, 0, 0] = float("nan")
        if "inf" in kind:
            x.flatten()[-1] = float("inf")
        return x.requires_grad_(self.case.input_needs_gradient or self.site.schedule == "input alone")

    def loss(self, y: Tensor) -> Tensor:
        """Whose gradient differs in every element."""
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
        total = (y * weights).sum() + 0.1 * y.square().sum()
        site = self.site
        further = [term for f in site.of_the_loss if (term := f()) is not None]
        for tensor in (*site.collected, *further):
            total = total + 0.1 * tensor.square().sum()
        site.collected.clear()
        return total

    def backward(self, losses: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        schedule = self.site.schedule
        if not all(loss.requires_grad for loss in losses):
            self.trace.values[f"{self.trace.stage}: needs no gradient"] = [loss.requires_grad for loss in losses]
            return
        match schedule:
            case "one" | "in order" | "reversed":
                for loss in losses if schedule != "reversed" else reversed(losses):
                    loss.backward()
            case "summed":
                torch.stack(list(losses)).sum().backward()
            case "twice":
                losses[0].backward(retain_graph=True)
                losses[0].backward()
            case "asked":
                self.ask(losses[0], [p for _, p in self.parameters() if p.requires_grad and p.is_leaf])
            case "input alone":
                self.ask(losses[0], inputs)
            case _:
                raise ValueError(f"no schedule is called {schedule!r}")

    @staticmethod
    def ask(loss: Tensor, tensors: Sequence[Tensor]) -> None:
        for tensor, gradient in zip(tensors, torch.autograd.grad(loss, tensors, allow_unused=True), strict=True):
            tensor.grad = gradient

    def parameters(self) -> list[tuple[str, Tensor]]:
        """All that are trained, by name."""
        return [*self.site.network.named_parameters(), *self.site.unregistered.items()]

    def learn(self, step: int, inputs: Sequence[Tensor], *, is_finite: bool) -> None:
        """Keep the gradients and take a step of SGD, its length bounded."""
        trace, gradients = self.trace, {}
        for name, p in self.parameters():
            trace.values[f"step {step}: gradient of {name}"] = gradient = kept(p.grad)
            if gradient is not None:
                gradients[name] = gradient
        for index, x in enumerate(inputs):
            trace.values[f"step {step}: gradient of input {index}"] = kept(x.grad)
        norm = torch.stack([g.norm() for g in gradients.values()]).norm() if gradients else torch.zeros(())
        trace.scales[f"step {step}: gradient"] = float(norm)
        if is_finite:
            with torch.no_grad():
                for _, p in self.parameters():
                    if p.grad is not None:
                        p.sub_(p.grad, alpha=LEARNING_RATE / max(1.0, float(norm)))
        for _, p in self.parameters():
            p.grad = None

    def keep_the_end(self) -> None:
        values, network = self.trace.values, self.site.network
        values.update({f"parameter {name}": kept(p) for name, p in self.parameters()})
        values.update({f"buffer {name}": kept(buffer) for name, buffer in network.named_buffers()})
        values.update({f"calls of {n}": m.calls for n, m in network.named_modules() if "calls" in m.__dict__})
        values.update({f"seen: {name}": list(seen) for name, seen in self.site.seen.items()})
