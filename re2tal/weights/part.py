"""What was trained of a detector, in a file without the pretrained weights that were not."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from re2tal.common.atomic import atomic_path
from re2tal.weights.errors import WeightsError
from re2tal.weights.files import PART_FORMAT, WeightsFile
from re2tal.weights.hashing import hash_of_weights
from re2tal.weights.loading import load_pretrained
from re2tal.weights.names import BACKBONE_PREFIX, Kind, is_recomputed

__all__ = ["completed", "write_part"]


def write_part(
    path: Path, checkpoint: Mapping[str, Any], *, frozen: Collection[str], kind: Kind, rewired: bool
) -> None:
    """Write the weights of a checkpoint but for those that were not trained; a crash leaves the file that was there.

    Args:
        path: of the safetensors file.
        checkpoint: what one of our training holds.
        frozen: names of the weights that were not trained, all of them of the backbone.
        kind: of the backbone.
        rewired: whether it is.
    """
    weights = {name: value for name, value in checkpoint["weights"].items() if not is_recomputed(name)}
    trained = {name: value.detach().cpu().clone() for name, value in weights.items() if name not in frozen}
    told = {name: checkpoint.get(name) for name in ("class_names", "epoch", "coefficients", "pixel_norm", "config")}
    metadata = {
        "format": PART_FORMAT,
        "kind": kind,
        "rewired": json.dumps(rewired),
        "rest_sha256": hash_of_weights({name: value for name, value in weights.items() if name in frozen}),
        "sha256": hash_of_weights(trained),
        **{name: json.dumps(value) for name, value in told.items()},
    }
    with atomic_path(path) as unfinished:
        save_file({name: value.contiguous() for name, value in trained.items()}, unfinished, metadata=metadata)


def completed(
    file: WeightsFile,
    model: nn.Module,
    *,
    pretrained: Path | None,
    reversible: bool,
    allow: Sequence[str] = (),
    adapters: Collection[str] = (),
) -> WeightsFile:
    """`file` with the weights that were not trained, if it lacks them; they are loaded into the model on the way.

    Args:
        file: what `read_weights` gave.
        model: a detector.
        pretrained: the file that they come from.
        reversible: whether the model's backbone is rewired.
        allow: see `load_pretrained`.
        adapters: see `load_pretrained`.

    Raises:
        WeightsError: that file is absent, of another network, or not the one that the adapters were trained on.
    """
    if file.rest_sha256 is None:
        return file
    if pretrained is None:
        raise WeightsError(
            f"{file.path} holds what was trained beside a pretrained network; set backbone.pretrained to the weights "
            "of that, or give the best.pth beside it, which holds all"
        )
    network = model.get_submodule("backbone.network")
    load_pretrained(
        network, path=pretrained, kind=file.layout.kind, reversible=reversible, allow=allow, adapters=adapters
    )
    rest = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(BACKBONE_PREFIX) and name not in file.tensors and not is_recomputed(name)
    }
    if hash_of_weights(rest) != file.rest_sha256:
        raise WeightsError(
            f"{pretrained} holds other weights than those that {file.path} was trained beside; set backbone.pretrained "
            "to the file of that training, and the backbone as it was there, or give the best.pth beside it"
        )
    return replace(file, tensors={**rest, **file.tensors}, rest_sha256=None)
