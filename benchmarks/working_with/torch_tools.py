"""What comes with torch: precision, checkpointing, accumulation, averaging, parametrizations, copies."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.checkpoint import checkpoint

from working_with.judging import Case
from working_with.networks import Batch, output_of
from working_with.steps import Recording, Setting, sgd, state_of, train


def _plainly(setting: Setting) -> Recording:
    return train(setting, setting.rewired(setting.model()))


def _accumulated(setting: Setting) -> Recording:
    return train(setting, setting.rewired(setting.model()), micro_batches=2)


def _autocast(setting: Setting) -> Recording:
    model = setting.rewired(setting.model())
    return train(setting, model, forward=lambda: torch.autocast("cpu", torch.bfloat16))


def _scaled(setting: Setting) -> Recording:
    """Train with `GradScaler` under autocast; gradients are unscaled before the step."""
    model = setting.rewired(setting.model())
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=256.0)
    before = state_of(model)
    for step in range(2):
        optimizer.zero_grad()
        with setting.counted(model), torch.autocast("cpu", torch.bfloat16):
            value = setting.network.loss(model, setting.batch(step))
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        setting.recording.put("losses", str(step), value)
        setting.recording.put_gradients(step, model)
        scaler.step(optimizer)
        scaler.update()
    setting.recording.put_changes(before, model)
    return setting.recording


def _half(setting: Setting) -> Recording:
    """Parameters and inputs in bfloat16."""
    return train(setting, setting.rewired(setting.model()))


def _cast_later(setting: Setting) -> Recording:
    """Rewire in float32, and cast afterwards."""
    single = Setting(setting.network, setting.kind, torch.float32, setting.self_check, setting.recording)
    return train(setting, setting.rewired(single.model(), example=single.network.example(torch.float32)).bfloat16())


class _Checkpointed(nn.Module):
    """Computes a block again in the backward pass."""

    def __init__(self, block: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.block = block
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=self.reentrant)


def _around_blocks(reentrant: bool) -> Callable[[Setting], Recording]:
    def scenario(setting: Setting) -> Recording:
        model = setting.rewired(setting.model())
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if child in setting.network.blocks(model) and not isinstance(parent, _Checkpointed):
                    setattr(parent, name, _Checkpointed(child, reentrant=reentrant))
        return train(setting, model)

    return scenario


def _around_all(reentrant: bool) -> Callable[[Setting], Recording]:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x = batch["x"].clone().requires_grad_()
        logits = checkpoint(model, x, use_reentrant=reentrant)
        return nn.functional.cross_entropy(logits, batch["y"])

    return lambda setting: train(setting, setting.rewired(setting.model()), loss=loss)


def _on_cpu(setting: Setting) -> Recording:
    model = setting.rewired(setting.model())
    return train(setting, model, forward=torch.autograd.graph.save_on_cpu)


def _eval_between(setting: Setting) -> Recording:
    """Switch to evaluation before the backward pass."""
    model = setting.rewired(setting.model())

    class Between:
        def __enter__(self) -> None:
            model.eval()

        def __exit__(self, *_: Any) -> None:
            model.train()

    return train(setting, model, backward=Between)


def _averaged(setting: Setting, *, ema: bool, batch_norms: bool = False) -> Recording:
    """Average weights while training, and evaluate with the average."""
    model = setting.rewired(setting.model())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5) if ema else None)
    train(setting, model, after_step=lambda step: average.update_parameters(model))
    if batch_norms:
        update_bn([setting.batch(step)["x"] for step in range(2)], average)
    for name, value in average.module.state_dict().items():
        setting.recording.put("average", name, value)
    average.eval()
    with torch.no_grad():
        setting.recording.put("outputs", "average", output_of(average, setting.network, setting.batch(5)))
    return setting.recording


def _compiled(backend: str, *, dynamic: bool | None = None) -> Callable[[Setting], Recording]:
    def scenario(setting: Setting) -> Recording:
        model = setting.rewired(setting.model())
        return train(setting, torch.compile(model, backend=backend, dynamic=dynamic))

    return scenario


def _compiled_blocks(backend: str) -> Callable[[Setting], Recording]:
    def scenario(setting: Setting) -> Recording:
        model = setting.rewired(setting.model())
        for block in setting.network.blocks(model):
            block.compile(backend=backend)
        return train(setting, model)

    return scenario


def _linears(setting: Setting, model: nn.Module) -> list[nn.Linear]:
    inside = (m for block in setting.network.blocks(model) for m in block.modules())
    return [module for module in inside if type(module) is nn.Linear]


def _ordered(change: Callable[[nn.Linear], Any], *, first: bool) -> Callable[[Setting], Recording]:
    """Change the linear layers of blocks before the network is rewired, or after it."""

    def scenario(setting: Setting) -> Recording:
        model = setting.model()
        torch.manual_seed(5)
        model = model if first else setting.rewired(model)
        for linear in _linears(setting, model):
            change(linear)
        model = setting.rewired(model) if first else model
        return train(setting, model)

    return scenario


def _pruned(linear: nn.Linear) -> None:
    prune.l1_unstructured(linear, "weight", amount=0.3)


def _quantised(*, first: bool) -> Callable[[Setting], Recording]:
    """Quantise the linear layers dynamically, for inference."""

    def scenario(setting: Setting) -> Recording:
        from torch.ao.quantization import quantize_dynamic

        model = setting.model().eval()
        model = model if first else setting.rewired(model)
        model = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        model = setting.rewired(model) if first else model
        with torch.no_grad():
            for step in range(2):
                setting.recording.put("outputs", str(step), output_of(model, setting.network, setting.batch(step)))
        return setting.recording

    return scenario


def _copied(setting: Setting) -> Recording:
    """Train a deep copy; the original must stay as it was."""
    model = setting.rewired(setting.model())
    setting.network.loss(model, setting.batch(0)).backward()
    duplicate = copy.deepcopy(model)
    before = state_of(model)
    train(setting, duplicate)
    moved = max(float((value - before[name]).abs().max()) for name, value in state_of(model).items())
    setting.recording.put("original", "moved", moved)
    setting.recording.put("original", "output", output_of(model, setting.network, setting.batch(0)))
    return setting.recording


def _pickled(setting: Setting) -> Recording:
    """Save the whole module, load it and train."""
    model = setting.rewired(setting.model())
    setting.network.loss(model, setting.batch(0)).backward()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return train(setting, torch.load(file, weights_only=False))


def _state_loaded(setting: Setting) -> Recording:
    """Load the state dict of a never rewired network with `weights_only`, train, and load it back."""
    source = setting.model()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.mul_(1.1)
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    model = setting.rewired(setting.model())
    model.load_state_dict(torch.load(file, weights_only=True))
    train(setting, model)
    source.load_state_dict(model.state_dict())
    for name, value in source.state_dict().items():
        setting.recording.put("loaded back", name, value)
    return setting.recording


def _functional(setting: Setting) -> Recording:
    """Call the network with other parameters than its own, and differentiate by these."""
    model = setting.rewired(setting.model())
    given = {name: (0.9 * p).detach().requires_grad_() for name, p in model.named_parameters()}
    args, _ = setting.network.inputs(setting.batch(0))
    for step in range(2):
        args, _ = setting.network.inputs(setting.batch(step))
        with setting.counted(model):
            output = torch.func.functional_call(model, given, args)
        loss = nn.functional.cross_entropy(output, setting.batch(step)["y"])
        setting.recording.put("losses", str(step), loss)
        found = torch.autograd.grad(loss, list(given.values()), allow_unused=True)
        for name, gradient in zip(given, found, strict=True):
            if gradient is not None:
                setting.recording.put(f"gradients of step {step}", name, gradient)
        given = {n: (p - 0.05 * g).detach().requires_grad_() for (n, p), g in zip(given.items(), found, strict=True)}
    return setting.recording


_CHANGES: dict[str, Callable[[nn.Linear], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm (old)": old_weight_norm,
    "spectral_norm (old)": old_spectral_norm,
    "pruning": _pruned,
}


def _case(tool: str, run: Callable[[Setting], Recording], network: str = "ViT", **options: Any) -> Case:
    return Case(tool, "torch", network, run, **options)


def cases() -> list[Case]:
    """One for each tool and network."""
    single, half = {"dtype": torch.float32, "tolerance": 0.1}, {"dtype": torch.bfloat16}
    found = [_case("no tool", _plainly, name) for name in ("ViT", "Swin3d", "GPT-2", "Llama", "ResNet")]
    for name in ("ViT", "Swin3d"):
        found += [
            _case("gradient accumulation", _accumulated, name),
            _case("autocast bfloat16", _autocast, name, **single),
            _case("bfloat16 parameters", _half, name, **half),
            _case("bfloat16 parameters, cast after rewire", _cast_later, name, **half),
            _case("checkpoint around the network", _around_all(False), name),
            _case("checkpoint around the network, re-entrant", _around_all(True), name),
            _case("checkpoint around blocks", _around_blocks(False), name),
            _case("checkpoint around blocks, re-entrant", _around_blocks(True), name),
            _case("save_on_cpu", _on_cpu, name),
            _case("deepcopy", _copied, name),
            _case("torch.save of the module", _pickled, name),
            _case("state dict, weights_only", _state_loaded, name),
            _case("torch.func.functional_call", _functional, name),
            _case("AveragedModel, EMA", lambda s: _averaged(s, ema=True), name),
        ]
    found += [
        _case("GradScaler", _scaled, **single),
        _case("eval() between forward and backward", _eval_between, "ResNet"),
        _case("AveragedModel, SWA", lambda s: _averaged(s, ema=False)),
        _case("AveragedModel, update_bn", lambda s: _averaged(s, ema=False, batch_norms=True), "ResNet"),
    ]
    for name in ("ViT", "Swin3d", "GPT-2"):
        found += [_case(f"torch.compile, {backend}", _compiled(backend), name) for backend in ("eager", "aot_eager")]
    found.append(_case("torch.compile of blocks, aot_eager", _compiled_blocks("aot_eager")))
    for first, when in ((False, "after rewire"), (True, "before rewire")):
        found += [_case(f"{tool} {when}", _ordered(change, first=first)) for tool, change in _CHANGES.items()]
        quantised = {"dtype": torch.float32, "tolerance": 1e-2}
        found.append(_case(f"dynamic quantisation {when}", _quantised(first=first), **quantised))
    return found
