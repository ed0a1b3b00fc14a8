"""Turn a file of weights of another program into one of ours: find out whose they are, place, check, write."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from re2tal.config import ExperimentConfig
from re2tal.config.building import build_detector, without_rewiring
from re2tal.config.presets import activitynet, activitynet_chunks, thumos, thumos_chunks
from re2tal.networks.backbones import (
    BackboneConfig,
    InternVideoConfig,
    MvitConfig,
    SlowFastConfig,
    SubClipConfig,
    SwinConfig,
    VideoMaeConfig,
    VjepaConfig,
    build_backbone,
)
from re2tal.weights import (
    Placement,
    WeightsError,
    WeightsFile,
    compare,
    fitted,
    read_weights,
    refuse,
    require_finite,
    require_kind,
    write_weights,
)

__all__ = ["ImportedWeights", "import_weights"]

# The networks that weights are published of.
_NETWORKS: dict[str, BackboneConfig] = {
    "Swin-T": SwinConfig(),
    "Swin-S": SwinConfig(depths=(2, 2, 18, 2)),
    "Swin-B": SwinConfig(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    "SlowFast-101": SlowFastConfig(),
    **{f"VideoMAE {size}": VideoMaeConfig.model_validate({"architecture": size}) for size in VideoMaeConfig.published},
    **{f"V-JEPA 2 {size}": VjepaConfig.model_validate({"architecture": size}) for size in VjepaConfig.published},
    "InternVideo2 1b": InternVideoConfig(),
    "InternVideo2 6b": InternVideoConfig(architecture="6b"),
    "MViTv2-S": MvitConfig(),
}
_DETECTORS: dict[str, Callable[..., ExperimentConfig]] = {"THUMOS-14": thumos, "ActivityNet-1.3": activitynet}


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """What `import_weights` read and wrote."""

    source: WeightsFile
    sha256: str
    """Of the source file."""
    network: str
    """What the weights were compared with."""
    placement: Placement
    destination: Path

    def __str__(self) -> str:
        return "\n".join(
            (
                str(self.source),
                f"as {self.network}",
                str(self.placement),
                f"written to {self.destination}",
            )
        )

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""

        def names(differences: Sequence[Any]) -> list[dict[str, Any]]:
            return [{"name": item.name, "in_file": item.in_file, "in_model": item.in_model} for item in differences]

        layout, placement = self.source.layout, self.placement
        return {
            "source": str(self.source.path),
            "destination": str(self.destination),
            "sha256": self.sha256,
            "network": self.network,
            "part": layout.part,
            "writer": layout.writer,
            "rewired": layout.rewired,
            "averaged": self.source.averaged,
            "epoch": self.source.epoch,
            "placed": list(placement.placed),
            "dropped": dict(placement.dropped),
            "missing": names(placement.missing),
            "unexpected": names(placement.unexpected),
            "of_another_shape": names(placement.of_another_shape),
            "allowed": list(placement.allow),
        }


def import_weights(
    source: Path,
    destination: Path,
    *,
    config: ExperimentConfig | None = None,
    allow: Sequence[str] = (),
    overwrite: bool = False,
) -> ImportedWeights:
    """Read `source`, check it against the network that it is of, and write `destination` under our names.

    Args:
        source: any file that `read_weights` knows.
        destination: a `.safetensors` file, for `backbone.pretrained` and, if it holds a detector, for testing.
        config: of which the source holds the backbone or the detector; None: the published network that it is
            closest to.
        allow: patterns of our names that may be missing, unexpected or of another shape; they are not written.
        overwrite: replace an existing `destination`.

    Raises:
        WeightsError: the source cannot be read or does not fit, or the destination cannot be written to.
    """
    _check_destination(destination, source=source, overwrite=overwrite)
    file = read_weights(source)
    network, model = _closest(file) if config is None else (config.name, _build(config, file))
    # Positions are written as they are in the file, for a network of any size.
    placement = compare(fitted(file.tensors, model)[0], model, allow=allow, dropped=file.dropped)
    refuse(
        placement,
        source=f"{file}, compared with {network},",
        fix="give the --config of the network that it holds, or --allow names (or patterns of them) to differ",
    )
    require_finite({name: file.tensors[name] for name in placement.placed}, source=file)
    dtypes = {name: value.dtype for name, value in model.state_dict().items()}
    with source.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    write_weights(
        destination,
        {name: file.tensors[name].to(dtypes[name]) for name in placement.placed},
        about=file,
        metadata={"network": network, "source": source.name, "sha256": sha256},
    )
    return ImportedWeights(source=file, sha256=sha256, network=network, placement=placement, destination=destination)


def _check_destination(destination: Path, *, source: Path, overwrite: bool) -> None:
    if destination.suffix != ".safetensors":
        raise WeightsError(f"weights are written as .safetensors, got {destination}; name it so")
    if destination.is_dir():
        raise WeightsError(f"{destination} is a folder; give the name of a file")
    if not destination.exists():
        return
    if source.exists() and destination.samefile(source):
        raise WeightsError(f"{destination} is the file to read; give another name to write to")
    if not overwrite:
        raise WeightsError(f"there is a {destination} already; add --overwrite to replace it, or give another name")


def _build(config: ExperimentConfig, file: WeightsFile) -> nn.Module:
    """What `config` describes of what `file` holds, without memory for its values."""
    require_kind(file, config.backbone.weight_names)
    plain = without_rewiring(config)
    with torch.device("meta"):
        if file.layout.part == "backbone":
            return build_backbone(plain.backbone).network
        return build_detector(plain, num_classes=_count_classes(file))


def _closest(file: WeightsFile) -> tuple[str, nn.Module]:
    """The published network that differs from `file` in the fewest tensors, and its name."""
    if file.layout.kind == "factory":
        raise WeightsError(f"{file.path} holds a {file.layout}, of which none is published here; give its --config")
    backbones = {name: build for name, build in _NETWORKS.items() if build.weight_names == file.layout.kind}
    name, network = _least_different(file.backbone(), _backbones(backbones))
    if file.layout.part == "backbone":
        return name, network
    chunks: dict[str, Callable[..., ExperimentConfig]] = {
        "THUMOS-14": thumos_chunks,
        "ActivityNet-1.3": activitynet_chunks,
    }
    presets = chunks if isinstance(backbones[name], SubClipConfig) else _DETECTORS
    detectors = (
        (f"{data} detector with {name}", _build(preset(name=data, backbone=backbones[name]), file))
        for data, preset in presets.items()
    )
    return _least_different(file, detectors)


def _backbones(configs: Mapping[str, BackboneConfig]) -> Iterator[tuple[str, nn.Module]]:
    for name, config in configs.items():
        with torch.device("meta"):
            network = build_backbone(config).network
        yield name, network


def _least_different(file: WeightsFile, models: Iterator[tuple[str, nn.Module]]) -> tuple[str, nn.Module]:
    def differences(item: tuple[str, nn.Module]) -> int:
        return len(compare(fitted(file.tensors, item[1])[0], item[1]).refused)

    return min(models, key=differences)


def _count_classes(file: WeightsFile) -> int:
    """As many as the file names, or its classifier has: it depends on the data, which need not be at hand."""
    if file.class_names is not None:
        return len(file.class_names)
    classifier = file.tensors.get("head.cls_head.weight")
    if classifier is None:
        raise WeightsError(f"{file.path} lacks head.cls_head.weight, the classifier; give a whole detector")
    return int(classifier.shape[0])
