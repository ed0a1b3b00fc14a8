"""Gradients through a share of a clip's chunks: their mean over the draws is the gradient through all of them."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.networks.adapters import LadderConfig
from re2tal.networks.backbones import Backbone, NetworkConfig, SwinConfig, build_backbone
from re2tal.networks.backbones.sub_clips import SubClipConfig, SubClipTrunk
from re2tal.training import Processes, RunFolder, seed_all
from tests.tiny_experiment import make_tiny_experiment

CHUNK, NUM_CHUNKS = 4, 4
STRATEGIES = {"plain": {}, "checkpointed": {"activation_checkpointing": True}, "rewired": {"reversible": True}}


class TinyPieces(SubClipConfig):
    """Settings of a network of sub-clips of 4 frames."""

    clip_frames: int = CHUNK
    size: tuple[int, int] = (16, 24)
    out_channels: int = 3

    @property
    def title(self) -> str:
        return "pieces"

    def build_network(self) -> nn.Module:
        return TinyPiecesTrunk(self)


class TinyPiecesTrunk(SubClipTrunk):
    """One convolution and its norm."""

    def __init__(self, config: SubClipConfig) -> None:
        super().__init__(config)
        self.conv = nn.Conv3d(3, 3, 3, stride=(2, 4, 4), padding=1)

    def features(self, sub_clips: Tensor) -> Tensor:
        return self.conv(sub_clips).tanh().mean((3, 4))


def swin(**options: object) -> SwinConfig:
    sizes = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": (2, 3, 3), "drop_path": 0.0}
    return SwinConfig(**{**sizes, "chunk_frames": CHUNK, "freeze_norms": False} | options)


def frames() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 3, CHUNK * NUM_CHUNKS, 16, 24)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def built(config: NetworkConfig, *, share: float = 1.0) -> Backbone:
    seed_all(0)
    backbone = build_backbone(config.model_copy(update={"sampled_gradients": share}))
    return backbone.double().train()


def gradients(backbone: Backbone, clip: Tensor) -> list[Tensor]:
    """Of a loss that is not linear in the features, and weighs each step differently."""
    features = backbone(clip, 8)
    weights = torch.linspace(0.5, 2, features.shape[-1], dtype=features.dtype)
    return list(torch.autograd.grad((features * weights).sin().sum(), list(backbone.parameters()), allow_unused=True))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_mean_over_all_draws_is_the_gradient_through_all_chunks(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = swin(**STRATEGIES[strategy])
    three = frames()[:, :, : 3 * CHUNK]
    full = gradients(built(config), three)
    backbone = built(config, share=1 / 3)
    draws: list[Tensor] = []
    monkeypatch.setattr("re2tal.networks.backbones.chunks.torch.rand", lambda *_: draws.pop())
    sums = [torch.zeros_like(gradient) for gradient in full]
    for drawn in product(range(3), repeat=2):  # a chunk of each of two clips
        draws.append(torch.ones(2, 3))
        draws[-1][[0, 1], drawn] = 0
        for total, gradient in zip(sums, gradients(backbone, three), strict=True):
            total += gradient
    for total, gradient in zip(sums, full, strict=True):
        mean, largest = total / 9, gradient.abs().max()
        assert largest > 0
        assert (mean - gradient).abs().max() <= 1e-10 * largest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_features_of_all_chunks_are_in_their_places(strategy: str) -> None:
    config = swin(**STRATEGIES[strategy])
    whole, sampled = built(config), built(config, share=0.25)
    chunks = frames().unflatten(2, (NUM_CHUNKS, CHUNK)).unbind(2)
    for backbone in (whole, sampled):
        alone = torch.cat([backbone.network(chunk)[0].mean((3, 4)) for chunk in chunks], dim=2)
        torch.testing.assert_close(backbone(frames(), alone.shape[2]), alone)


def test_all_chunks_of_a_network_of_sub_clips_are_the_network_as_it_is() -> None:
    backbone, plain = built(TinyPieces()), built(TinyPieces())
    plain.chunk_frames = None
    state = torch.get_rng_state()
    found = gradients(backbone, frames())
    assert torch.equal(torch.get_rng_state(), state)
    features = plain.network(frames())[0]
    assert torch.equal(backbone(frames(), features.shape[2]), features.mean((3, 4)))
    assert all(map(torch.equal, found, gradients(plain, frames())))
    half = built(TinyPieces(), share=0.5)
    torch.testing.assert_close(half(frames(), 8), backbone(frames(), 8))
    assert not torch.equal(gradients(half, frames())[0], found[0])


@pytest.mark.parametrize(("strategy", "runs_again"), [("plain", 0), ("checkpointed", 1)])
@pytest.mark.parametrize(("share", "trained"), [(0.5, 2), (0.25, 1), (0.01, 1), (0.9, 4)])
def test_the_other_chunks_run_once_without_autograd(strategy: str, runs_again: int, share: float, trained: int) -> None:
    backbone = built(swin(**STRATEGIES[strategy]), share=share)
    seen: dict[bool, int] = {True: 0, False: 0}

    def count(_module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> None:
        seen[torch.is_grad_enabled()] += len(args[0])

    backbone.network.get_submodule("features.0.0.norm1").register_forward_hook(count)
    gradients(backbone, frames())
    assert seen == {True: 2 * trained * (1 + runs_again), False: 2 * (NUM_CHUNKS - trained)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_kept_for_the_backward_pass_goes_with_the_share(strategy: str) -> None:
    kept = {}
    for share in (1.0, 0.5, 0.25):
        backbone = built(swin(**STRATEGIES[strategy]), share=share)
        known = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
        storages: dict[int, int] = {}

        def keep(tensor: Tensor, *, storages: dict[int, int] = storages, known: set[int] = known) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            features = backbone(frames(), 8)
        kept[share] = sum(storages.values())
        del features
    assert kept[0.5] < 0.6 * kept[1.0] and kept[0.25] < 0.6 * kept[0.5]


def test_chunks_are_drawn_anew_from_the_state_of_the_process_and_in_training_alone() -> None:
    backbone = built(swin(), share=0.25)
    seed_all(3)
    state = torch.get_rng_state()
    first, second = gradients(backbone, frames())[0], gradients(backbone, frames())[0]
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(gradients(backbone, frames())[0], first)
    backbone.eval()
    state = torch.get_rng_state()
    tested = gradients(backbone, frames())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, tested, gradients(built(swin()).eval(), frames())))


def test_a_resumed_run_draws_the_chunks_that_it_would_have_drawn(tmp_path: Path) -> None:
    path = make_tiny_experiment(tmp_path)
    config = load_config(path, ["backbone.chunk_frames=8", "backbone.sampled_gradients=0.5"])
    whole, resumed = (RunFolder(tmp_path / name) for name in ("whole", "resumed"))
    experiment.train(config, processes=Processes(), folder=whole, evaluate=False)
    first = whole.checkpoints / "epoch_0.pth"
    experiment.train(config, processes=Processes(), folder=resumed, evaluate=False, resume=first)
    ours, theirs = (
        torch.load(folder.checkpoints / "epoch_1.pth", weights_only=True)["weights"] for folder in (resumed, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: swin(chunk_frames=None, sampled_gradients=0.5), "set backbone.chunk_frames to the frames of a chunk"),
        (lambda: swin(sampled_gradients=0.5, reversible="auto"), "set backbone.reversible=True or False"),
        (lambda: swin(sampled_gradients=0.5, frozen=True, pretrained=Path("w")), "a frozen backbone gets no gradients"),
        (lambda: swin(sampled_gradients=0), "greater than 0"),
        (lambda: TinyPieces(chunk_frames=6), "multiple of the 4 frames .* got 6; write 8"),
        (
            lambda: TinyPieces(sampled_gradients=0.5, adapter=LadderConfig(), pretrained=Path("w")),
            "sees clips as a whole",
        ),
    ],
)
def test_what_cannot_be_is_refused(build: Callable[[], NetworkConfig], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build()


def test_clips_are_whole_chunks(tmp_path: Path) -> None:
    path = make_tiny_experiment(tmp_path)
    with pytest.raises(ValueError, match="clips of 32 frames cannot be cut into chunks of backbone.chunk_frames=12"):
        load_config(path, ["backbone.chunk_frames=12"])
