"""Training loops of libraries: transformers, accelerate, Lightning and timm."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from working_with.judging import Case
from working_with.networks import output_of
from working_with.steps import Recording, Setting, sgd, state_of, train


class _Sentences(torch.utils.data.Dataset):
    """The batches of a setting, one sentence at a time."""

    def __init__(self, setting: Setting, steps: int = 2) -> None:
        self.words = torch.cat([setting.batch(step)["input_ids"] for step in range(steps)])

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.words[index], "labels": self.words[index]}


def _transformers(setting: Setting, **options: Any) -> Recording:
    """transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    class Recorded(Trainer):
        def compute_loss(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
            with setting.counted(model):
                loss = super().compute_loss(model, *args, **kwargs)
            value = loss[0] if isinstance(loss, tuple) else loss
            setting.recording.put("losses", str(len(setting.recording.groups.get("losses", {}))), value)
            return loss

    model = setting.rewired(setting.model())
    model.config.use_cache = False
    before = state_of(model)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=2,
            per_device_train_batch_size=4,
            optim="sgd",
            learning_rate=0.05,
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **options,
        )
        steps = 2 * arguments.gradient_accumulation_steps
        Recorded(model, arguments, train_dataset=_Sentences(setting, steps)).train()
    setting.recording.put_changes(before, model)
    return setting.recording


def _accelerate(setting: Setting, *, precision: str = "no", accumulate: int = 1) -> Recording:
    """accelerate's `prepare`, `accumulate` and `backward`."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=accumulate)
    inner = setting.rewired(setting.model())
    before = state_of(inner)
    loader = torch.utils.data.DataLoader(_Sentences(setting, 2 * accumulate), batch_size=4)
    model, optimizer, loader = accelerator.prepare(inner, sgd(inner), loader)
    for step, batch in enumerate(loader):
        with accelerator.accumulate(model):
            with setting.counted(inner):
                loss = model(**batch, use_cache=False)["loss"]
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            setting.recording.put("losses", str(step), loss)
            setting.recording.put_gradients(step, inner)
            optimizer.step()
            optimizer.zero_grad()
    setting.recording.put_changes(before, accelerator.unwrap_model(model))
    return setting.recording


def lightning_fit(setting: Setting, *, precision: str, **options: Any) -> Recording:
    """Lightning's Trainer."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = setting.rewired(setting.model())

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            with setting.counted(self):
                loss = F.cross_entropy(self.network(batch[0]), batch[1])
            setting.recording.put("losses", str(index), loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self)

    module = Module()
    before = state_of(module)
    batches = [setting.batch(step) for step in range(4)]
    data = torch.utils.data.TensorDataset(*(torch.cat([batch[key] for batch in batches]) for key in ("x", "y")))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=2,
        max_epochs=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4))
    setting.recording.put_changes(before, module)
    return setting.recording


def _timm_average(setting: Setting) -> Recording:
    """timm's average of weights."""
    from timm.utils import ModelEmaV3

    model = setting.rewired(setting.model())
    average = ModelEmaV3(model, decay=0.5)
    train(setting, model, after_step=lambda step: average.update(model, step=step))
    for name, value in average.module.state_dict().items():
        setting.recording.put("average", name, value)
    average.module.eval()
    with torch.no_grad():
        setting.recording.put("outputs", "average", output_of(average.module, setting.network, setting.batch(5)))
    return setting.recording


def _timm_scaler(setting: Setting) -> Recording:
    """timm's scaler with clipping, as its training script calls it."""
    from timm.utils import NativeScaler

    model = setting.rewired(setting.model())
    scaler, optimizer = NativeScaler(device="cpu"), sgd(model)
    before = state_of(model)
    for step in range(2):
        optimizer.zero_grad()
        with setting.counted(model), torch.autocast("cpu", torch.bfloat16):
            loss = setting.network.loss(model, setting.batch(step))
        scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
        setting.recording.put("losses", str(step), loss)
        setting.recording.put_gradients(step, model)
    setting.recording.put_changes(before, model)
    return setting.recording


def _timm_clipping(setting: Setting, *, mode: str) -> Recording:
    """timm's clipping of gradients."""
    from timm.utils import dispatch_clip_grad

    model = setting.rewired(setting.model())
    return train(setting, model, after_backward=lambda step: dispatch_clip_grad(model.parameters(), 0.1, mode=mode))


def _timm_checkpointing(setting: Setting, *, first: bool) -> Recording:
    """timm's own checkpointing, switched on before or after the network is rewired."""
    model = setting.model()
    model = model if first else setting.rewired(model)
    model.set_grad_checkpointing(True)
    return train(setting, setting.rewired(model) if first else model)


def _drop_path(setting: Setting) -> Recording:
    """Stochastic depth, whose masks are drawn anew in each step."""
    model = setting.model()
    from timm.layers import DropPath

    for block in setting.network.blocks(model):
        block.drop_path1, block.drop_path2 = DropPath(0.3), DropPath(0.3)
    return train(setting, setting.rewired(model))


def _of_trainers() -> list[Case]:
    double, single = {"dtype": torch.float64}, {"dtype": torch.float32}
    half = {**single, "tolerance": 0.2}
    found = []
    ways: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("float32", {}, single),
        ("gradient accumulation", {"gradient_accumulation_steps": 2}, single),
        ("bf16", {"bf16": True}, half),
        ("gradient_checkpointing", {"gradient_checkpointing": True}, single),
        (
            "gradient_checkpointing, re-entrant",
            {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
            single,
        ),
        ("torch_compile, aot_eager", {"torch_compile": True, "torch_compile_backend": "aot_eager"}, single),
    )
    for network in ("GPT-2", "Llama"):
        for way, options, kind in ways:
            run = partial(_transformers, **options)
            found.append(Case(f"Trainer, {way}", "transformers", network, run, **kind))
        for way, arguments, kind in (
            ("prepare", {}, double),
            ("gradient accumulation", {"accumulate": 2}, double),
            ("bf16", {"precision": "bf16"}, half),
        ):
            run = partial(_accelerate, **arguments)
            found.append(Case(f"Accelerator, {way}", "accelerate", network, run, **kind))
    return found


def cases() -> list[Case]:
    """One for each loop, way of training and network."""
    single = {"dtype": torch.float32}
    half = {**single, "tolerance": 0.2}
    found = _of_trainers()
    for precision, kind in (("64-true", {}), ("bf16-true", half), ("bf16-mixed", half)):
        run: Callable[[Setting], Recording] = partial(lightning_fit, precision=precision, devices=1)
        found.append(Case(f"Lightning, {precision}", "lightning", "ViT", run, **kind))
    found += [
        Case("timm ModelEmaV3", "timm", "ViT", _timm_average),
        Case("timm NativeScaler, autocast", "timm", "ViT", _timm_scaler, **half),
        *(
            Case(f"timm dispatch_clip_grad, {m}", "timm", "ViT", partial(_timm_clipping, mode=m))
            for m in ("norm", "agc")
        ),
        Case("timm set_grad_checkpointing after rewire", "timm", "ViT", partial(_timm_checkpointing, first=False)),
        Case("timm set_grad_checkpointing before rewire", "timm", "ViT", partial(_timm_checkpointing, first=True)),
        Case("timm drop path", "timm", "ViT", _drop_path),
    ]
    return found
