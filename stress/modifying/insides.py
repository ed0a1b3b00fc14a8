"""What branches are made of: layers that are wrapped, replaced, patched, or given another class."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from modifying import layers
from modifying.site import Site


def _wrap(site: Site, kind: type[nn.Module]) -> bool:
    layer = site.pick(site.layers())
    if layer is not None:
        site.replace(layer, kind(layer).train(layer.training))
    return layer is not None


def counting(site: Site) -> bool:
    return _wrap(site, layers.Counting)


def counting_number(site: Site) -> bool:
    return _wrap(site, layers.CountingNumber)


def centred(site: Site) -> bool:
    return _wrap(site, layers.Centred)


def replacing_its_buffer(site: Site) -> bool:
    return _wrap(site, layers.Replacing)


def codebook(site: Site) -> bool:
    return _wrap(site, layers.Codebook)


def adapted(site: Site) -> bool:
    """LoRA around linear layers; the network itself is frozen in half of the cases."""
    found = [layer for layer in site.layers() if isinstance(layer, nn.Linear)]
    frozen = site.random.random() < 0.5
    for layer in found:
        torch.manual_seed(site.random.randrange(2**31))
        layer.requires_grad_(not frozen)
        site.replace(layer, layers.Adapted(layer).double().train(layer.training))
    return bool(found)


def adapters_switched(site: Site) -> bool:
    found = site.some(site.inner(layers.Adapted))
    for module in found:
        module.disabled = not module.disabled
    return bool(found)


def listed_module(site: Site) -> bool:
    """Shared by several layers, registered by none."""
    gain = layers.Gain()
    found = site.some(site.layers())
    for layer in found:
        site.replace(layer, layers.Listing(layer, [gain]).train(layer.training))
    site.unregistered[f"of a list {len(site.unregistered)}"] = gain.gain
    return bool(found)


def held_tensor(site: Site) -> bool:
    tensor = torch.full((), 0.75, dtype=torch.float64, requires_grad=True)
    found = site.some(site.layers())
    for layer in found:
        site.replace(layer, layers.Holding(layer, [tensor]).train(layer.training))
    site.unregistered[f"of an attribute {len(site.unregistered)}"] = tensor
    return bool(found)


def tensor_in_a_closure(site: Site) -> bool:
    tensor = torch.full((), 0.75, dtype=torch.float64, requires_grad=True)
    layer = site.pick(site.layers())
    if layer is not None:
        old = layer.forward
        layer.forward = lambda x: old(x) * tensor
        site.unregistered[f"of a closure {len(site.unregistered)}"] = tensor
    return layer is not None


def forward_of_an_instance(site: Site) -> None:
    module = site.pick([m for m in site.inner() if type(m) is not nn.MultiheadAttention])
    old = module.forward
    module.forward = lambda *args, **kwargs: old(*args, **kwargs) * 0.5


def class_swapped(site: Site) -> None:
    module = site.pick([m for m in site.inner() if type(m) is not nn.MultiheadAttention])
    base = type(module)
    forward = {"forward": lambda self, *args, **kwargs: base.forward(self, *args, **kwargs) * 0.5}
    module.__class__ = type(f"Halved{base.__name__}", (base,), forward)


def attribute_in_the_loss(site: Site) -> None:
    """A module keeps what it computes, which the loss asks it for."""
    module = site.pick([m for m in site.inner() if type(m) is not nn.MultiheadAttention])
    base = type(module)

    def forward(self: nn.Module, *args: Tensor) -> Tensor:
        self.last = base.forward(self, *args)
        return self.last

    module.__class__ = type(f"Remembering{base.__name__}", (base,), {"forward": forward})
    site.of_the_loss.append(lambda: site.now(module).__dict__.pop("last", None))


def parameter_in_the_loss(site: Site) -> bool:
    """As weight decay."""
    parameter = site.pick([p for block in site.blocks() for p in block.parameters() if p.is_leaf])
    if parameter is not None:
        site.of_the_loss.append(lambda: site.now(parameter))
    return parameter is not None


def child_replaced(site: Site) -> bool:
    """A layer by a new one."""
    layer = site.pick(site.layers())
    if layer is not None:
        torch.manual_seed(site.random.randrange(2**31))
        new = type(layer)(*_sizes(layer)).double()
        site.replace(layer, new.train(layer.training))
    return layer is not None


def _sizes(layer: nn.Module) -> tuple[object, ...]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return (
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
    )


def activation_replaced(site: Site) -> bool:
    found = site.some(site.inner(nn.GELU, nn.ReLU, nn.SiLU))
    for module in found:
        site.replace(module, nn.Tanh().train(module.training))
    return bool(found)


def norm_removed(site: Site) -> bool:
    found = site.some([block for block in site.blocks() if isinstance(getattr(block, "norm", None), nn.Module)])
    for block in found:
        block.norm = nn.Identity()
    return bool(found)


def branch_shared(site: Site) -> bool:
    """One branch in two blocks."""
    found = [block for block in site.blocks() if isinstance(getattr(block, "f", None), nn.Module)]
    if len(found) > 1:
        found[1].f = found[0].f
    return len(found) > 1


def spectral_norm_of_old(site: Site) -> bool:
    return _normed(site, spectral_norm)


def spectral_norm_as_parametrization(site: Site) -> bool:
    return _normed(site, parametrizations.spectral_norm)


def weight_norm_of_old(site: Site) -> bool:
    return _normed(site, weight_norm)


def weight_norm_as_parametrization(site: Site) -> bool:
    return _normed(site, parametrizations.weight_norm)


def _normed(site: Site, normalize: object) -> bool:
    layer = site.pick([layer for layer in site.layers() if isinstance(layer.weight, nn.Parameter)])
    if layer is not None:
        torch.manual_seed(site.random.randrange(2**31))
        normalize(layer)
    return layer is not None
