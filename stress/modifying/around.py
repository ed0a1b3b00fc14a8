"""Blocks that are replaced, patched or checkpointed, and the ways in which a network is called."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modifying.layers import Checkpointed, CountingNumber
from modifying.site import Site


def block_forward_wrapped(site: Site) -> None:
    """By code that calls the forward it has found."""
    block = site.pick(site.blocks())
    old = block.forward
    block.forward = lambda x: old(x) * 0.5


def block_forward_replaced(site: Site) -> bool:
    block = site.pick([block for block in site.blocks() if isinstance(getattr(block, "f", None), nn.Module)])
    if block is not None:
        block.forward = lambda x: x + 0.5 * block.f(x)
    return block is not None


def block_class_swapped(site: Site) -> None:
    block = site.pick(site.blocks())
    base = type(block)
    block.__class__ = type(f"Halved{base.__name__}", (base,), {"forward": lambda self, x: base.forward(self, x) * 0.5})


def block_replaced(site: Site) -> None:
    """By another of its kind."""
    block = site.pick(site.blocks())
    stage, index = site.place_of(block)
    source = site.pristine_block()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.mul_(0.5)
    stage[index] = source.train(block.training)


def block_replaced_by_identity(site: Site) -> None:
    stage, index = site.place_of(site.pick(site.blocks()))
    stage[index] = nn.Identity()


def block_replaced_by_a_layer(site: Site) -> None:
    """That is no residual block."""
    stage, index = site.place_of(site.pick(site.blocks()))
    torch.manual_seed(site.random.randrange(2**31))
    stage[index] = nn.PReLU().double()


def blocks_exchanged(site: Site) -> None:
    stage = site.network.stages[0]
    first, last = stage[0], stage[len(stage) - 1]
    stage[0], stage[len(stage) - 1] = last, first


def block_twice(site: Site) -> None:
    """The first one takes the second one's place, too."""
    stage = site.network.stages[0]
    stage[1] = stage[0]


def block_appended(site: Site) -> None:
    site.network.stages[-1].append(site.pristine_block())


def block_removed(site: Site) -> None:
    stage = site.network.stages[0]
    if len(stage) > 1:
        del stage[site.random.randrange(len(stage))]


def checkpointed(site: Site) -> None:
    _checkpoint(site, use_reentrant=False)


def checkpointed_reentrant(site: Site) -> None:
    _checkpoint(site, use_reentrant=True)


def _checkpoint(site: Site, *, use_reentrant: bool) -> None:
    for block in site.some([block for block in site.blocks() if _is_the_same_twice(block)]):
        stage, index = site.place_of(block)
        stage[index] = Checkpointed(block, use_reentrant=use_reentrant).train(block.training)


def functional_call(site: Site) -> None:
    """With other tensors in the place of the parameters."""

    def call(network: nn.Module, x: Tensor) -> Tensor:
        parameters = {name: parameter * 0.9 for name, parameter in network.named_parameters()}
        return torch.func.functional_call(network, parameters, (x,))

    site.call = call


def called_in_inference(site: Site) -> None:
    """Once more, without gradients, as in a validation."""
    site.later.append(lambda: _evaluate(site))


def _evaluate(site: Site) -> None:
    training = {module: module.training for module in site.network.modules()}
    site.network.eval()
    with torch.no_grad():
        site.record("the output of a validation").append(site.network(site.example.detach()))
    for module, was in training.items():
        module.training = was


def called_without_gradients(site: Site) -> None:
    """In training mode, so that statistics move."""

    def run() -> None:
        with torch.no_grad():
            site.network(site.example.detach())

    site.later.append(run)


def copied(site: Site) -> None:
    site.copy_network()


def rewired_again(site: Site) -> bool:
    if site.rewire_again is not None:
        site.rewire_again()
    return True


def converted(site: Site) -> None:
    """To float32 and back, which makes new tensors of the parameters' data."""
    site.network.float().double()


def _is_the_same_twice(block: nn.Module) -> bool:
    """Whether a checkpoint around the plain block is right: it runs its forward pass twice a step."""
    return not any(True for _ in block.buffers()) and not any(isinstance(m, CountingNumber) for m in block.modules())


def _setting(**values: str) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        vars(site).update(values)

    return modify


two_forwards_in_order = _setting(schedule="in order")
two_forwards_reversed = _setting(schedule="reversed")
two_forwards_summed = _setting(schedule="summed")
backward_twice = _setting(schedule="twice")
gradients_asked_for = _setting(schedule="asked")
gradient_of_the_input_alone = _setting(schedule="input alone")


input_with_nan = _setting(inputs="nan")
input_with_infinity = _setting(inputs="inf")
input_with_both = _setting(inputs="nan and inf")
empty_batch = _setting(inputs="empty")
other_batch = _setting(inputs="other batch")
other_size = _setting(inputs="other size")
large_input = _setting(inputs="large")
