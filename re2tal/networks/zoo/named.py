"""A network by its name, with random weights, and an example of what it takes."""

from __future__ import annotations

import difflib
import importlib
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from re2tal.common.untrusted import some
from re2tal.reversible import Example

__all__ = ["Network", "create", "load", "optional", "without_own_gradients"]

SMALL = (64, 56)
"""Sizes of pictures that a network is built for, if it can be built for any."""
SIZES = (64, 224, 256, 240, 299)
"""Of pictures; the first that a network takes."""
FRAMES = (8, 16, 32)

_NO_NAME = (
    "cannot tell what network {!r} is; write torchvision:NAME, timm:NAME, transformers:NAME, or path/to/file.py:FACTORY"
)

Candidate = tuple[Callable[[], nn.Module], Callable[[], Example]]
"""A way to build a network, and an example that it may take."""


@dataclass(frozen=True)
class Network:
    """A network and something that it can be called with."""

    name: str
    model: nn.Module
    example: Example


def optional(library: str) -> Any:
    """The library, imported.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ValueError(f'{library} is not installed; install it with: pip install "re2tal[zoo]"') from error


def load(name: str) -> Network:
    """`torchvision:swin3d_t`, `timm:vit_base_patch16_224`, `transformers:VideoMAEModel`, or `path/to/file.py:factory`.

    Pictures are small where the network allows it. A factory is called without arguments and returns a model and an
    example of its input (a tensor, a tuple of arguments, or a dict of keyword arguments); its file is executed.

    Raises:
        ValueError: there is no such network, its library is not installed, or nobody knows what to give it.
    """
    library, _, rest = name.partition(":")
    match library:
        case "torchvision" if rest:
            return _torchvision(name, rest)
        case "timm" if rest:
            return _timm(name, rest)
        case "transformers" if rest:
            return _transformers(name, rest)
        case _ if ".py:" in name:
            return _from_file(name)
        case _:
            raise ValueError(_NO_NAME.format(name))


def create(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network alone, with random weights.

    Args:
        name: as `load` takes it; a factory may also return the network without an example.
        options: for the library's builder, the configuration of a class of transformers, or the factory.

    Raises:
        ValueError: there is no such network, its library is not installed, or it does not take these options.
    """
    library, _, rest = name.partition(":")
    match library:
        case "torchvision" if rest:
            build = _torchvision_builder(rest)
        case "timm" if rest:
            build = _timm_builder(rest)
        case "transformers" if rest:
            kind = _transformers_class(rest)

            def build(**options: Any) -> Any:
                return without_own_gradients(kind(kind.config_class(**options)))

        case _ if ".py:" in name:
            build = _function_of_file(name)
        case _:
            raise ValueError(_NO_NAME.format(name))
    try:
        result = build(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be built with {dict(options)}: {type(error).__name__}: {error}") from error
    model = result[0] if isinstance(result, tuple) and result else result
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must return a network, but returned a {type(model).__name__}")
    return model


def _torchvision_builder(rest: str) -> Callable[..., nn.Module]:
    from torchvision import models

    _check_known(rest, models.list_models(), of="torchvision")
    return partial(models.get_model_builder(rest), weights=None)


def _timm_builder(rest: str) -> Callable[..., nn.Module]:
    timm = optional("timm")
    _check_known(rest.split(".")[0], timm.list_models(), of="timm")
    return partial(timm.create_model, rest, pretrained=False)


def _torchvision(name: str, rest: str) -> Network:
    build = _torchvision_builder(rest)
    candidates: list[Candidate] = [(partial(build, image_size=size), partial(_picture, size)) for size in SMALL]
    candidates += [(build, partial(_picture, size)) for size in SIZES]
    candidates += [(build, partial(_video, frames, size)) for frames in FRAMES for size in (64, 224)]
    return _first_that_runs(name, candidates)


def _timm(name: str, rest: str) -> Network:
    build = _timm_builder(rest)
    candidates: list[Candidate] = [(partial(build, img_size=size), partial(_picture, size)) for size in SMALL]
    candidates += [(build, partial(_picture, size)) for size in SIZES]
    return _first_that_runs(name, candidates)


def _transformers_class(rest: str) -> Any:
    transformers = optional("transformers")
    kind: Any = getattr(transformers, rest, None)
    if not getattr(kind, "config_class", None):
        found = [entry for entry in dir(transformers) if entry.endswith("Model")]
        _check_known(rest, found, of="transformers")
        raise ValueError(
            f"transformers.{rest} is no model with a configuration of its own; name a class, as VideoMAEModel"
        )
    return kind


def _transformers(name: str, rest: str) -> Network:
    kind = _transformers_class(rest)
    config = kind.config_class()
    small = {key: 64 for key in ("image_size", "crop_size") if isinstance(getattr(config, key, None), int)}
    small |= {"use_cache": False} if hasattr(config, "use_cache") else {}
    config = kind.config_class(**small)
    model = without_own_gradients(kind(config))
    examples = list(_for_config(config, kind.main_input_name))
    return _first_that_runs(name, [(lambda: model, partial(dict, example)) for example in examples])


def without_own_gradients(model: nn.Module) -> nn.Module:
    """Some networks of audio make their input need a gradient, which fails where it does already."""
    for module in model.modules():
        if hasattr(module, "_requires_grad"):
            cast(Any, module)._requires_grad = False
    return model


def _for_config(config: Any, main: str) -> Iterator[dict[str, Tensor]]:
    """What a network of transformers may take, by the name of its main input."""
    size = getattr(config, "crop_size", None) or getattr(config, "image_size", None) or 64
    height, width = (size, size) if isinstance(size, int) else size
    frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    channels = getattr(config, "num_channels", 3) or 3
    match main:
        case "pixel_values" | "pixel_values_videos":
            if frames:
                yield {main: torch.randn(1, frames, channels, height, width)}
            yield {main: torch.randn(2, channels, height, width)}
            yield {main: torch.randn(2, channels, 224, 224)}
        case "input_features":
            length = 2 * getattr(config, "max_source_positions", 50)
            features: dict[str, Tensor] = {main: torch.randn(1, getattr(config, "num_mel_bins", 80), length)}
            yield features
            yield {**features, "decoder_input_ids": torch.arange(8)[None]}
        case "input_values":
            yield {main: torch.randn(2, 8000)}
            yield {main: torch.randn(2, getattr(config, "max_length", 1024), getattr(config, "num_mel_bins", 128))}
        case _:
            words = torch.arange(32).reshape(2, 16) % 50 + 3
            yield {main: words}
            yield {main: words, "decoder_input_ids": words}


def _function_of_file(name: str) -> Callable[..., Any]:
    path, _, factory = name.rpartition(":")
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}; give the path of a Python file, a colon, and a function in it")
    found = runpy.run_path(path)
    if not callable(found.get(factory)):
        functions = [key for key, value in found.items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"{path} has no function {factory!r}; it has {some(functions) or 'none'}")
    function: Callable[..., Any] = found[factory]
    return function


def _from_file(name: str) -> Network:
    result = _function_of_file(name)()
    match result:
        case (nn.Module() as model, example):
            return Network(name, model, example)
        case _:
            raise ValueError(
                f"{name} must return a model and an example of its input, as in `return model, torch.randn(1, 3, 224, "
                f"224)`, but returned a {type(result).__name__}"
            )


def _check_known(name: str, known: list[str], *, of: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else "see its documentation for the names"
        raise ValueError(f"{of} has no network {name!r}; {hint}")


def _picture(size: int) -> Tensor:
    return torch.randn(2, 3, size, size)


def _video(frames: int, size: int) -> Tensor:
    return torch.randn(1, 3, frames, size, size)


def _first_that_runs(name: str, candidates: Sequence[Candidate]) -> Network:
    """The first network that takes its example; errors of the others are only told if there is none."""
    errors: list[str] = []
    for build, give in candidates:
        try:
            model, example = build(), give()
            with torch.no_grad():
                model.eval()(**example) if isinstance(example, dict) else model.eval()(example)
            return Network(name, model.train(), example)
        except Exception as error:  # whatever foreign code raises when it is given what it does not take
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            if message not in errors:
                errors.append(message)
    raise ValueError(
        f"nobody knows what {name} takes: {'; '.join(errors[-3:])}; write a function that returns it and an example, "
        "and give path/to/file.py:FACTORY"
    )
