"""Hooks on modules inside branches, on tensors they compute, and on blocks."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from modifying.site import Site


def kept(value: Any) -> Any:
    """A copy of what a hook was given."""
    match value:
        case Tensor():
            return value.detach().clone()
        case tuple() | list():
            return tuple(kept(item) for item in value)
        case _:
            return value


def scaled(value: Any, factor: float) -> Any:
    """Tensors times a factor."""
    match value:
        case Tensor():
            return value * factor
        case tuple():
            return tuple(scaled(item, factor) for item in value)
        case _:
            return value


def _inner(site: Site) -> list[nn.Module]:
    return site.some(site.inner())


def _layers(site: Site) -> list[nn.Module]:
    return site.some(site.layers())


def _blocks(site: Site) -> list[nn.Module]:
    return site.some(site.blocks())


Choice = Callable[[Site], Sequence[nn.Module]]


def _forward_records(choose: Choice, what: str) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            seen = site.record(f"{what} in a forward hook")
            module.register_forward_hook(lambda m, args, y, seen=seen: seen.append((kept(args), kept(y))))

    return modify


def _forward_changes(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_forward_hook(lambda m, args, y: scaled(y, 0.5))

    return modify


def _forward_changes_in_place(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_forward_hook(lambda m, args, y: y.mul_(0.5) if isinstance(y, Tensor) else None)

    return modify


def _pre_changes(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_forward_pre_hook(lambda m, args: scaled(args, 1.5))

    return modify


def _collects(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        def collect(module: nn.Module, args: Any, y: Any) -> None:
            if isinstance(y, Tensor):
                site.collected.append(y)

        for module in choose(site):
            module.register_forward_hook(collect)

    return modify


def _backward_records(choose: Choice, what: str) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            seen = site.record(f"{what} in a backward hook")
            module.register_full_backward_hook(lambda m, gi, go, seen=seen: seen.append((kept(gi), kept(go))))

    return modify


def _backward_changes(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_full_backward_hook(lambda m, gi, go: scaled(gi, 0.5))

    return modify


def _backward_pre_changes(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_full_backward_pre_hook(lambda m, go: scaled(go, 0.5))

    return modify


def _tensor_hook(choose: Choice, what: str) -> Callable[[Site], None]:
    """On the output, registered in the forward pass: records the gradient and changes it."""

    def modify(site: Site) -> None:
        for module in choose(site):
            seen = site.record(f"{what} in a hook of its output")

            def change(gradient: Tensor, seen: list[Any] = seen) -> Tensor:
                seen.append(kept(gradient))
                return gradient * 0.5

            def register(module: nn.Module, args: Any, y: Any, change: Any = change) -> None:
                if isinstance(y, Tensor) and y.requires_grad:
                    y.register_hook(change)

            module.register_forward_hook(register)

    return modify


def _retains(choose: Choice, what: str) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            seen, outputs = site.record(f"{what} as the grad of its output"), site.scratch()

            def retain(module: nn.Module, args: Any, y: Any, outputs: list[Tensor] = outputs) -> None:
                if isinstance(y, Tensor) and y.requires_grad:
                    y.retain_grad()
                    outputs.append(y)

            def look(seen: list[Any] = seen, outputs: list[Tensor] = outputs) -> None:
                seen.extend(kept(y.grad) for y in outputs)
                outputs.clear()

            module.register_forward_hook(retain)
            site.after_backward.append(look)

    return modify


def _detaches(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_forward_hook(lambda m, args, y: y.detach() if isinstance(y, Tensor) else None)

    return modify


def _removed_at_once(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            module.register_forward_hook(lambda m, args, y: scaled(y, 0.5)).remove()
            module.register_full_backward_hook(lambda m, gi, go: scaled(gi, 0.5)).remove()

    return modify


def _removed_later(choose: Choice) -> Callable[[Site], None]:
    def modify(site: Site) -> None:
        for module in choose(site):
            site.later.append(module.register_forward_hook(lambda m, args, y: scaled(y, 0.5)).remove)

    return modify


inner_records = _forward_records(_inner, "a module's input and output")
inner_changes = _forward_changes(_inner)
layer_changes_in_place = _forward_changes_in_place(_layers)
inner_pre_changes = _pre_changes(_inner)
inner_collects = _collects(_inner)
inner_backward_records = _backward_records(_inner, "a module's gradients")
inner_backward_changes = _backward_changes(_inner)
inner_backward_pre_changes = _backward_pre_changes(_inner)
inner_tensor_hook = _tensor_hook(_inner, "a module's gradient")
inner_retains = _retains(_layers, "a module's gradient")
inner_detaches = _detaches(_layers)
inner_removed_at_once = _removed_at_once(_inner)
inner_removed_later = _removed_later(_inner)

block_records = _forward_records(_blocks, "a block's input and output")
block_changes = _forward_changes(_blocks)
block_changes_in_place = _forward_changes_in_place(_blocks)
block_pre_changes = _pre_changes(_blocks)
block_collects = _collects(_blocks)
block_backward_records = _backward_records(_blocks, "a block's gradients")
block_backward_changes = _backward_changes(_blocks)
block_backward_pre_changes = _backward_pre_changes(_blocks)
block_tensor_hook = _tensor_hook(_blocks, "a block's gradient")
block_retains = _retains(_blocks, "a block's gradient")
block_detaches = _detaches(_blocks)
block_removed_at_once = _removed_at_once(_blocks)
block_removed_later = _removed_later(_blocks)
