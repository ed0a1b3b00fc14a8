"""Numbers, flags, tensors, parameters and buffers that are changed."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torchvision.ops import StochasticDepth

from modifying.branches import DropPath, MultiHead
from modifying.site import Site


def whole_network_switched(site: Site) -> None:
    """Between training and evaluation."""
    site.network.train(not site.network.training)


def one_module_switched(site: Site) -> None:
    """Between training and evaluation."""
    module = site.pick(site.inner())
    module.train(not module.training)


def norms_switched(site: Site) -> bool:
    """To evaluation, as when statistics are frozen."""
    norms = site.inner(_NormBase)
    for module in norms:
        module.eval()
    return bool(norms)


def dropout_probability(site: Site) -> bool:
    modules = site.some(site.inner(nn.Dropout))
    for module in modules:
        module.p = site.random.choice((0.0, 0.6))
    attentions = site.some(site.inner(MultiHead))
    for module in attentions:
        module.attention.dropout = 0.4
    return bool(modules or attentions)


def drop_path_rate(site: Site) -> bool:
    modules = site.some(site.inner(DropPath, StochasticDepth))
    for module in modules:
        setattr(module, "rate" if isinstance(module, DropPath) else "p", site.random.choice((0.0, 0.5)))
    return bool(modules)


def number(site: Site) -> bool:
    """A factor that a block's or a branch's own forward reads."""
    modules = site.some(site.with_attribute("scale"))
    for module in modules:
        module.scale = 0.25
    return bool(modules)


def probability_of_a_function(site: Site) -> bool:
    modules = site.some(site.with_attribute("p"))
    for module in modules:
        module.p = 0.5
    return bool(modules)


def flag(site: Site) -> bool:
    modules = site.some(site.with_attribute("flag"))
    for module in modules:
        module.flag = not module.flag
    return bool(modules)


def listed_number(site: Site) -> bool:
    modules = site.some(site.with_attribute("factors"))
    for module in modules:
        module.factors[0] = 0.5
    return bool(modules)


def number_of_a_config(site: Site) -> bool:
    modules = site.some(site.with_attribute("config"))
    for module in modules:
        module.config.scale = 0.5
    return bool(modules)


def flag_of_a_config(site: Site) -> bool:
    modules = site.some(site.with_attribute("config"))
    for module in modules:
        module.config.doubled = True
    return bool(modules)


def bare_tensor(site: Site) -> bool:
    modules = site.some(site.with_attribute("bare"))
    for module in modules:
        module.bare = torch.full((), 0.5, dtype=torch.float64)
    return bool(modules)


def bare_tensor_in_place(site: Site) -> bool:
    modules = site.some(site.with_attribute("bare"))
    for module in modules:
        module.bare.mul_(0.5)
    return bool(modules)


def epsilon_of_a_norm(site: Site) -> bool:
    modules = site.some([module for module in site.inner() if isinstance(getattr(module, "eps", None), float)])
    for module in modules:
        module.eps = 0.1
    return bool(modules)


def momentum_of_a_norm(site: Site) -> bool:
    modules = site.some(site.inner(_NormBase))
    for module in modules:
        module.momentum = 0.7
    return bool(modules)


def parameter_in_place(site: Site) -> bool:
    parameter = site.pick([p for block in site.blocks() for p in block.parameters()])
    if parameter is not None:
        with torch.no_grad():
            parameter.mul_(1.5)
    return parameter is not None


def parameter_s_data(site: Site) -> bool:
    parameter = site.pick([p for block in site.blocks() for p in block.parameters()])
    if parameter is not None:
        parameter.data = parameter.data * 1.5
    return parameter is not None


def parameter_replaced(site: Site) -> bool:
    layer = site.pick(site.layers())
    if layer is not None:
        layer.weight = nn.Parameter(layer.weight.detach() * 1.5)
    return layer is not None


def freeze_one(site: Site) -> bool:
    """The preparation of `frozen_parameter_in_place`."""
    parameter = site.pick([p for block in site.blocks() for p in block.parameters()])
    if parameter is not None:
        parameter.requires_grad_(False)
        site.prepared["frozen"] = parameter
    return parameter is not None


def frozen_parameter_in_place(site: Site) -> bool:
    parameter = site.now(site.prepared.get("frozen"))
    if parameter is not None:
        with torch.no_grad():
            parameter.mul_(1.5)
    return parameter is not None


def buffer_in_place(site: Site) -> bool:
    buffer = site.pick([b for block in site.blocks() for b in block.buffers() if b.is_floating_point()])
    if buffer is not None:
        buffer.mul_(1.5)
    return buffer is not None


def buffer_replaced(site: Site) -> bool:
    buffers = [(m, name, b) for m in site.inner() for name, b in m.named_buffers(recurse=False)]
    found = site.pick([entry for entry in buffers if entry[2].is_floating_point()])
    if found is not None:
        module, name, buffer = found
        setattr(module, name, buffer.clone() * 1.5)
    return found is not None


def some_parameters_toggled(site: Site) -> bool:
    """Frozen, or no longer."""
    parameters = [p for block in site.blocks() for p in block.parameters() if p.is_leaf]
    for parameter in parameters:
        if site.random.random() < 0.5:
            parameter.requires_grad_(not parameter.requires_grad)
    return bool(parameters)


def one_block_frozen(site: Site) -> bool:
    site.pick(site.blocks()).requires_grad_(False)
    return True


def all_frozen(site: Site) -> None:
    site.network.requires_grad_(False)


def all_trained(site: Site) -> None:
    site.network.requires_grad_(True)


def state_dict_loaded(site: Site) -> None:
    """Of scaled parameters and buffers."""
    state = site.network.state_dict()
    site.network.load_state_dict({k: v * 0.9 if v.is_floating_point() else v.clone() for k, v in state.items()})
