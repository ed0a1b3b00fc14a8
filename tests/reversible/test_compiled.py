"""Compiled branches: the streams come back bit for bit, and gradients are those of plain autograd."""

import copy
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import metrics
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer

from re2tal.networks.backbones import SwinConfig, build_backbone
from re2tal.reversible import (
    Branch,
    ReversibleChain,
    chains,
    compile_branches,
    compiled,
    reconstruction_error,
    rewire,
    set_mode,
)
from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.conversion import add_result
from re2tal.reversible.fixed_point import FixedPoint

from .networks import Mlp, MlpNet, assert_same_gradients, gradients, loss_of, mlp_net, re2_slowfast, re2_swin


def re2_vit(*, dropout: float = 0.0) -> tuple[nn.Module, Tensor]:
    """Rewired by example."""
    model = VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, dropout=dropout)
    model.heads = nn.Identity()  # which are zero at the beginning
    x = torch.randn(2, 3, 16, 16)
    return rewire(model, example=x), x


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": mlp_net,
    "swin": re2_swin,
    "slowfast": re2_slowfast,
    "vit": re2_vit,
}


@pytest.fixture(autouse=True)
def _compilers_may_warn() -> Iterator[None]:
    """Of what is deprecated in their own code; that a branch could not be compiled is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="a branch could not be compiled")
        yield


def step(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of a step, always of the same random numbers."""
    model.zero_grad()
    torch.manual_seed(0)
    loss_of(model(x)).backward()
    return gradients(model)


def how_many(model: nn.Module) -> int:
    """Functions compiled for branches of `model`."""
    (compiler,) = {chain.compiler for chain in chains(model)}
    return 0 if compiler is None else sum(len(variants) for variants, _ in compiler._variants.values())


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_those_of_branches_that_are_not_compiled(kind: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[kind]()
    model.train(kind != "slowfast")  # batch norms that train move their buffers
    plain = copy.deepcopy(model)
    compile_branches(model, "aot_eager")
    assert_same_gradients(step(model, x), step(plain, x), tolerance=1e-5)
    assert reconstruction_error(model) == 0
    known = how_many(model)
    assert known > 0
    step(model, x)
    assert how_many(model) == known  # the second step has nothing to compile


def test_half_precision_is_cast_as_autocast_casts() -> None:
    torch.manual_seed(0)
    model, x = re2_swin()
    plain = copy.deepcopy(model)
    compile_branches(model, "aot_eager")
    found = []
    for network in (model, plain):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(x)
        loss_of(outputs).backward()
        found.append(gradients(network))
    assert_same_gradients(*found, tolerance=1e-2)
    assert reconstruction_error(model) == 0


class Scaled(nn.Module):
    """A branch whose code reads an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp, self.scale = Mlp(6), 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) * self.scale


def test_a_changed_attribute_is_compiled_anew() -> None:
    model, x = MlpNet(), torch.randn(4, 5)
    model.chain = ReversibleChain([Scaled() for _ in range(2)])
    plain = copy.deepcopy(model)
    compile_branches(model, "aot_eager")
    for scale, expected in ((1.0, 1), (3.0, 2), (1.0, 2)):
        for network in (model, plain):
            for block in network.chain.children():
                block.scale = scale
        assert_same_gradients(step(model, x), step(plain, x), tolerance=2e-6)
        assert how_many(model) == expected  # both blocks share it


def test_what_was_changed_before_the_backward_pass_is_put_back() -> None:
    model, x = MlpNet(), torch.randn(4, 5)
    model.chain = ReversibleChain([Scaled() for _ in range(2)])
    expected = step(copy.deepcopy(model), x)
    compile_branches(model, "aot_eager")
    loss = loss_of(model(x))
    for block in model.chain.children():
        block.scale = 5.0
    loss.backward()
    assert_same_gradients(gradients(model), expected, tolerance=2e-6)
    assert reconstruction_error(model) == 0


def test_dropout_is_replayed_and_differs_between_steps() -> None:
    model, x = re2_vit(dropout=0.3)
    compile_branches(model.train(), "aot_eager")
    stored = copy.deepcopy(model)
    set_mode(stored, "store")
    assert_same_gradients(step(model, x), step(stored, x), tolerance=2e-6)
    assert reconstruction_error(model) == 0
    assert not torch.equal(model(x), model(x))


def test_without_gradients_the_result_is_the_same() -> None:
    model, x = re2_vit()
    compile_branches(model.eval(), "aot_eager")
    expected = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), expected)
    with torch.inference_mode():
        assert torch.equal(model(x), expected)


def test_a_branch_that_cannot_be_compiled_is_computed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiled, "_by_backend", fails)
    model, x = MlpNet(), torch.randn(4, 5)
    expected = step(copy.deepcopy(model), x)
    compile_branches(model, "aot_eager")
    with pytest.warns(UserWarning, match="could not be compiled by aot_eager and is computed as it is .* no compiler"):
        assert_same_gradients(step(model, x), expected, tolerance=0)


def test_kinds_of_input_beyond_the_last_are_computed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_MOST_VARIANTS", 2)
    model = MlpNet()
    plain = copy.deepcopy(model)
    compile_branches(model, "aot_eager")
    for clips in (1, 2, 3):
        x = torch.randn(clips, 5)
        assert_same_gradients(step(model, x), step(plain, x), tolerance=2e-6)
        assert reconstruction_error(model) == 0
    assert how_many(model) == 2


def test_whoever_looks_at_operations_in_one_pass_changes_nothing() -> None:
    model, x = MlpNet(), torch.randn(4, 5)
    expected = step(copy.deepcopy(model), x)
    compile_branches(model, "aot_eager")
    with FlopCounterMode(display=False):
        loss = loss_of(model(x))
    assert how_many(model) == 0  # nothing is compiled under its eyes
    loss.backward()
    assert how_many(model) == 0
    assert_same_gradients(gradients(model), expected, tolerance=1e-6)
    model.zero_grad()
    loss = loss_of(model(x))
    with FlopCounterMode(display=False):
        loss.backward()
    assert how_many(model) == 1 and reconstruction_error(model) == 0


def test_arguments_are_constants_or_tensors() -> None:
    blocks = [Branch(Mlp(6), _biased) for _ in range(2)]
    x, bias = torch.randn(4, 6), torch.randn(6, requires_grad=True)
    chain = ReversibleChain(blocks)
    plain = copy.deepcopy(chain)
    compile_branches(chain, "aot_eager")
    for scale in (0.5, 2.0):
        found = [torch.autograd.grad(loss_of(c(x, bias, scale)), [bias, *c.parameters()]) for c in (chain, plain)]
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    assert how_many(chain) == 2


def _biased(owner: nn.Module, x: Tensor, bias: Tensor, scale: float) -> Tensor:
    return owner(x + bias) * scale


def test_an_unknown_backend_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="backend must be one of .*inductor.*, got 'fast'"):
        compile_branches(MlpNet(), "fast")


def test_the_setting_compiles_a_backbone() -> None:
    config = SwinConfig(embed_dim=8, depths=(2,), num_heads=(1,), window_size=(2, 3, 3), reversible=True)
    compilers = [
        {chain.compiler is not None for chain in chains(build_backbone(config.model_copy(update={"compile": wanted})))}
        for wanted in (False, True)
    ]
    assert compilers == [{False}, {True}]
    with pytest.raises(ValueError, match="compile=True with reversible=False; set reversible=True"):
        SwinConfig(compile=True)


@pytest.mark.slow  # inductor compiles C++ for a minute or two
@pytest.mark.parametrize("kind", ["swin", "vit"])
def test_streams_come_back_bit_for_bit_from_inductor_s_kernels(kind: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[kind]()
    plain = copy.deepcopy(model.train())
    compile_branches(model)
    assert_same_gradients(step(model, x), step(plain, x), tolerance=1e-5)
    assert reconstruction_error(model) == 0


@pytest.mark.slow  # as above
def test_inductor_s_own_dropout_is_replayed() -> None:
    model, x = re2_vit(dropout=0.3)
    compile_branches(model.train())
    stored = copy.deepcopy(model)
    set_mode(stored, "store")
    assert_same_gradients(step(model, x), step(stored, x), tolerance=1e-5)
    assert reconstruction_error(model) == 0
    assert not torch.equal(model(x), model(x))


@pytest.mark.slow  # inductor is started
def test_conversion_and_overflow_flag_are_at_most_two_kernels_that_are_exact() -> None:
    format = FixedPoint.around(torch.ones(1), headroom=8)
    for shape in ((64, 24), (2, 3, 4, 4, 24)):
        f = torch.randn(shape)
        before = torch.randint(-9, 9, shape, dtype=torch.int32)
        streams = [before.clone() for _ in range(2)]
        metrics.reset()
        found = [
            add_result(stream, (), f, format=format, compiler=compiler)
            for stream, compiler in zip(streams, (BranchCompiler(), None), strict=True)
        ]
        assert 1 <= metrics.generated_kernel_count <= 2
        assert torch.equal(*streams)
        assert format.share(*found[0]) == format.share(*found[1])
        add_result(streams[0], (), f, format=format, compiler=BranchCompiler(), sign=-1)
        assert torch.equal(streams[0], before)
    (flag,) = add_result(before, (), f / 0, format=format, compiler=BranchCompiler())
    assert not flag.isfinite()
