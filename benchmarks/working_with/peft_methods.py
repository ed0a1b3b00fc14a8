"""Every method of peft, put on a rewired network, and on a network that is rewired afterwards."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn

from working_with.judging import Case
from working_with.networks import output_of
from working_with.steps import Recording, Setting, train

_GPT2 = "GPT-2"
_LLAMA = "Llama"
_PROMPT = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}

# Networks and options for a method, by its name in peft; others are tried on the ViT with the names of layers alone.
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "ADALORA": ("ViT", {"init_r": 4, "target_r": 2, "tinit": 0, "tfinal": 1, "total_step": 4}),
    "ADAMSS": ("ViT", {"r": 8, "num_subspaces": 2, "subspace_rank": 2}),
    "ADAPTION_PROMPT": (_LLAMA, {"task_type": "CAUSAL_LM", "adapter_len": 4, "adapter_layers": 2}),
    "BOFT": ("ViT", {"boft_block_size": 4}),
    "C3A": ("ViT", {"block_size": 16}),
    "CARTRIDGE": (_LLAMA, {**_PROMPT, "num_frozen_tokens": 1}),
    "CPT": (_LLAMA, {"task_type": "CAUSAL_LM"}),
    "FOURIERFT": ("ViT", {"n_frequency": 20}),
    "GRALORA": ("ViT", {"r": 4, "gralora_k": 2}),
    "IA3": ("ViT", {"feedforward_modules": ["fc1", "fc2"]}),
    "LN_TUNING": ("ViT", {"target_modules": ["norm1", "norm2"]}),
    "MISS": ("ViT", {"r": 4}),
    "MULTITASK_PROMPT_TUNING": (_LLAMA, {**_PROMPT, "num_tasks": 2}),
    "OFT": ("ViT", {"oft_block_size": 4}),
    "OSF": ("ViT", {"effective_rank": 8}),
    "POLY": (_LLAMA, {"task_type": "CAUSAL_LM", "r": 4, "n_tasks": 2, "n_skills": 2}),
    "PREFIX_TUNING": (_LLAMA, _PROMPT),
    "PROMPT_TUNING": (_LLAMA, _PROMPT),
    "PVERA": ("ViT", {"r": 4}),
    "P_TUNING": (_LLAMA, {**_PROMPT, "encoder_hidden_size": 16}),
    "PSOFT": ("ViT", {"r": 4}),
    "RANDLORA": ("ViT", {"r": 4}),
    "ROAD": ("ViT", {"group_size": 8}),
    "SHADOW": (_LLAMA, {"task_type": "CAUSAL_LM", "r": 4}),
    "SHIRA": ("ViT", {"r": 2}),
    "TINYLORA": ("ViT", {"u": 4}),
    "TRAINABLE_TOKENS": (_LLAMA, {"token_indices": [3, 4, 5], "target_modules": ["embed_tokens"]}),
    "UNILORA": ("ViT", {"theta_d_length": 32}),
    "VBLORA": ("ViT", {"num_vectors": 8, "vector_length": 16, "topk": 2}),
    "VERA": ("ViT", {"r": 4}),
    "WAVEFT": ("ViT", {"n_frequency": 20}),
}

# Of the same method, other options and networks.
_VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "DoRA": ("LORA", "ViT", {"use_dora": True}),
    "rsLoRA": ("LORA", "ViT", {"use_rslora": True}),
    "LORA, dropout 0.2": ("LORA", "ViT", {"lora_dropout": 0.2}),
    "LORA on GPT-2": ("LORA", _GPT2, {"task_type": "CAUSAL_LM", "fan_in_fan_out": True}),
    "DoRA on GPT-2": ("LORA", _GPT2, {"task_type": "CAUSAL_LM", "use_dora": True, "fan_in_fan_out": True}),
    "IA3 on GPT-2": (
        *("IA3", _GPT2),
        {"task_type": "CAUSAL_LM", "feedforward_modules": ["c_fc"], "fan_in_fan_out": True},
    ),
    "LORA on Llama": ("LORA", _LLAMA, {"task_type": "CAUSAL_LM"}),
    "LORA on Swin3d": ("LORA", "Swin3d", {}),
    "PROMPT_TUNING on GPT-2": ("PROMPT_TUNING", _GPT2, _PROMPT),
    "PREFIX_TUNING on GPT-2": ("PREFIX_TUNING", _GPT2, _PROMPT),
}

_WITHOUT_TARGETS = {
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE", "XLORA"),
    *("ADAPTION_PROMPT", "TRAINABLE_TOKENS", "LN_TUNING", "SHADOW"),
}

_SINGLE = {"PSOFT"}
"""Methods that refuse float64."""

_SPARSE = {"FROD", "SHIRA"}
"""Methods that keep sparse tensors, whose bytes cannot be counted."""


_OF_TASKS = {"POLY", "MULTITASK_PROMPT_TUNING"}
"""Methods that want to know the task of each sentence."""


def _config(method: str, setting: Setting, options: dict[str, Any]) -> Any:
    import peft

    if method == "CPT":
        tokens = {"cpt_token_ids": [3, 4, 5, 6], "cpt_mask": [1] * 4, "cpt_tokens_type_mask": [1, 2, 3, 4]}
        options = {**options, **tokens}
    if method == "IA3" or method not in _WITHOUT_TARGETS:
        options = {"target_modules": list(setting.network.targets), **options}
    kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method)]
    return kind(**options)


def adapted(model: nn.Module, method: str, setting: Setting, options: dict[str, Any]) -> nn.Module:
    """The network with adapters, none of which starts at zero, in the network's type."""
    import peft

    torch.manual_seed(7)
    if method == "XLORA":
        return _mixture(model, setting)
    new = peft.get_peft_model(model, _config(method, setting, options)).to(setting.dtype)
    _wake(new)
    return new


def _wake(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter))


def _mixture(model: nn.Module, setting: Setting) -> nn.Module:
    """X-LoRA mixes adapters that were trained before."""
    import peft

    model.config.use_cache = False  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name in ("0", "1"):
            lora = {"task_type": "CAUSAL_LM", "r": 2, "target_modules": list(setting.network.targets)}
            trained = peft.get_peft_model(setting.model(), peft.LoraConfig(**lora))
            _wake(trained)
            trained.save_pretrained(f"{folder}/{name}")
            paths[name] = f"{folder}/{name}"
        config = peft.XLoraConfig(
            task_type="CAUSAL_LM", hidden_size=32, xlora_size=8, xlora_dropout_p=0.0, adapters=paths
        )
        new = peft.get_peft_model(model, config).to(setting.dtype)
    new.train()
    return new


def _train(setting: Setting, model: nn.Module, method: str, **options: Any) -> Recording:
    """Train, with what a method wants called after each backward pass."""
    if method == "ADALORA":
        adapters = next(module for module in model.modules() if hasattr(module, "update_and_allocate"))
        options["after_backward"] = adapters.update_and_allocate
    if method in _SPARSE:
        setting.recording.saved_bytes = 0
    if method in _OF_TASKS:
        options["loss"] = _loss_of_task
    return train(setting, model, **options)


def _loss_of_task(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    words = batch["input_ids"]
    loss: torch.Tensor = model(input_ids=words, labels=words, task_ids=torch.arange(4) % 2, use_cache=False)["loss"]
    return loss


def _before(method: str, options: dict[str, Any], setting: Setting) -> Recording:
    """Rewire, then adapt."""
    model = adapted(setting.rewired(setting.model()), method, setting, options)
    return _train(setting, model, method)


def _after(method: str, options: dict[str, Any], setting: Setting) -> Recording:
    """Adapt, then rewire."""
    example = setting.network.example(setting.dtype)
    if method in _OF_TASKS:
        example = {**example, "task_ids": torch.arange(4) % 2}
    model = adapted(setting.model(), method, setting, options)
    return _train(setting, setting.rewired(model, example=example), method)


class _Disabled:
    """Adapters are switched off, and used meanwhile, between forward and backward."""

    def __init__(self, model: nn.Module, setting: Setting) -> None:
        self.model, self.setting = model, setting

    def __call__(self) -> AbstractContextManager[None]:
        with self.model.disable_adapter(), torch.no_grad():
            reference = output_of(self.model, self.setting.network, self.setting.batch(4))
        self.setting.recording.put("outputs", "adapters disabled", reference)
        return self.model.disable_adapter()


def _disabled(setting: Setting, *, around: bool) -> Recording:
    """The reference of a policy: the network without adapters, or the backward pass itself with them off.

    All weights are trained: peft freezes adapters while they are off, and plain autograd then drops their gradients.
    """
    model = adapted(setting.rewired(setting.model()), "LORA", setting, {}).requires_grad_(True)
    disabled = _Disabled(model, setting)

    class Between:
        def __enter__(self) -> None:
            self.inside = disabled()
            if around:
                self.inside.__enter__()

        def __exit__(self, *error: Any) -> None:
            if around:
                self.inside.__exit__(*error)

    return train(setting, model, backward=Between)


def _merged(setting: Setting) -> Recording:
    """Merge adapters after training, and compute."""
    model = adapted(setting.rewired(setting.model()), "LORA", setting, {})
    train(setting, model)
    merged = model.merge_and_unload().eval()
    with torch.no_grad():
        setting.recording.put("outputs", "merged", output_of(merged, setting.network, setting.batch(4)))
    return setting.recording


def cases() -> list[Case]:
    """Both orders for every method that the installed peft has."""
    if importlib.util.find_spec("peft") is None:
        return [Case("peft", "peft", "ViT", train)]  # type: ignore[arg-type]
    from peft import PEFT_TYPE_TO_TUNER_MAPPING, PeftType

    methods = {kind.value: (kind.value, *_METHODS.get(kind.value, ("ViT", {}))) for kind in PeftType}
    methods["XLORA"] = ("XLORA", _LLAMA, {})
    known = {kind.value for kind in PEFT_TYPE_TO_TUNER_MAPPING}
    found = []
    orders: tuple[tuple[str, Callable[..., Recording]], ...] = (("after rewire", _before), ("before rewire", _after))
    for name, (method, network, options) in {**methods, **_VARIANTS}.items():
        reason = "" if method in known else "peft maps no tuner to it"
        kind = torch.float32 if method in _SINGLE else torch.float64
        label = name.removesuffix(f" on {network}")
        found += [
            Case(f"peft {label} {when}", "peft", network, partial(order, method, options), kind, left_out=reason)
            for when, order in orders
        ]
    for network in ("ViT", _GPT2):
        found.append(Case("peft disable_adapter before backward", "peft", network, partial(_disabled, around=False)))
        found.append(Case("peft disable_adapter around backward", "peft", network, partial(_disabled, around=True)))
        found.append(Case("peft merge_and_unload", "peft", network, _merged))
    return found
