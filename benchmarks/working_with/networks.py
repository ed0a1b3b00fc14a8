"""Small networks with random weights, two batches for each, and the loss that is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """A kind of network, built anew from the same seed each time."""

    name: str
    library: str
    build: Callable[[], nn.Module]
    make_batch: Callable[[torch.Generator], Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    blocks: Callable[[nn.Module], list[nn.Module]]
    """The residual blocks."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that adapters are put on."""

    def model(self, dtype: torch.dtype) -> nn.Module:
        """The network in training mode, with weights that depend on nothing but its kind."""
        torch.manual_seed(0)
        model = self.build().to(dtype).train()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():  # none starts at zero, where its factors would not be seen
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter))
        return model

    def batch(self, step: int, dtype: torch.dtype) -> Batch:
        """The inputs of a training step, with targets."""
        made = self.make_batch(torch.Generator().manual_seed(10 + step))
        return {key: value.to(dtype) if value.is_floating_point() else value for key, value in made.items()}

    def inputs(self, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the network, without targets."""
        if "x" in batch:
            return (batch["x"],), {}
        return (), {"input_ids": batch["input_ids"], "use_cache": False}

    def example(self, dtype: torch.dtype) -> Any:
        """What `rewire` is given."""
        args, kwargs = self.inputs(self.batch(0, dtype))
        return kwargs or args


def output_of(model: nn.Module, network: Network, batch: Batch) -> Tensor:
    """Logits of the network."""
    args, kwargs = network.inputs(batch)
    result = model(*args, **kwargs)
    return result if isinstance(result, Tensor) else result["logits"]


def _classified(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"])


def _words(model: nn.Module, batch: Batch) -> Tensor:
    loss: Tensor = model(input_ids=batch["input_ids"], labels=batch["input_ids"], use_cache=False)["loss"]
    return loss


def _pictures(generator: torch.Generator) -> Batch:
    return {
        "x": torch.randn(4, 3, 32, 32, generator=generator),
        "y": torch.randint(5, (4,), generator=generator),
    }


def _clips(generator: torch.Generator) -> Batch:
    return {
        "x": torch.randn(2, 3, 6, 24, 24, generator=generator),
        "y": torch.randint(5, (2,), generator=generator),
    }


def _sentences(generator: torch.Generator) -> Batch:
    return {"input_ids": torch.randint(3, 50, (4, 12), generator=generator)}


def _vit() -> nn.Module:
    import timm

    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 5}
    return timm.create_model("vit_tiny_patch16_224", **options)


def _swin() -> nn.Module:
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    return SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[2, 3, 3],
        num_classes=5,
        stochastic_depth_prob=0.0,
    )


_WORDS: dict[str, Any] = {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_embd=32,
        n_layer=3,
        n_head=2,
        n_positions=64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        **_WORDS,
    )
    return GPT2LMHeadModel(config)


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        **_WORDS,
    )
    return LlamaForCausalLM(config)


class _ConvolutionBlock(nn.Module):
    """A pre-activation residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolution(F.relu(self.norm(x)))


class _ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.ModuleList(_ConvolutionBlock(8) for _ in range(3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def _of_stages(model: nn.Module) -> list[nn.Module]:
    return [block for stage in (0, 2) for block in model.features[stage]]


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("ViT", "timm", _vit, _pictures, _classified, lambda m: list(m.blocks), ("qkv", "fc1", "fc2")),
        Network("Swin3d", "torchvision", _swin, _clips, _classified, _of_stages, ("mlp.0", "mlp.3")),
        Network(
            *("GPT-2", "transformers", _gpt2, _sentences, _words),
            lambda m: list(m.transformer.h),
            ("c_attn", "c_fc"),
        ),
        Network(
            *("Llama", "transformers", _llama, _sentences, _words),
            lambda m: list(m.model.layers),
            ("q_proj", "v_proj", "up_proj"),
        ),
        Network("ResNet", "torch", _ResNet, _pictures, _classified, lambda m: list(m.blocks)),
    )
}
"""By name. The ResNet is of pre-activation blocks with batch norms."""
