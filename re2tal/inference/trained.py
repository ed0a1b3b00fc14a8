"""A file of weights -> a network that is ready to be used, with all that has to be known of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from re2tal.common.untrusted import JsonError, parse_json
from re2tal.config import ExperimentConfig, override, read_json_config
from re2tal.config.building import build_detector
from re2tal.data import AGNOSTIC_CLASS, annotations_of, find_class_names, read_class_names
from re2tal.detections import VideoScores
from re2tal.detections.video_scores import CuhkConfig, SubmissionConfig, UntrimmedNetConfig, VideoLabelsConfig
from re2tal.networks.backbones import Backbone, BackboneConfig, build_backbone, pixel_norm
from re2tal.networks.detector import Detector
from re2tal.training import CheckpointError, chosen_precision, log, require_checkpoint
from re2tal.training.annealing import coefficients, set_coefficients
from re2tal.weights import WeightsFile, completed, hash_of_weights, load_detector, load_pretrained, read_weights

__all__ = ["TrainedDetector", "completed_by_pretrained", "load_backbone", "load_trained", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class TrainedDetector:
    """A detector with the weights of a file."""

    path: Path
    config: ExperimentConfig
    class_names: tuple[str, ...]
    """That the network tells apart."""
    model: Detector
    video_labels: VideoScores | None
    """Of a classifier that names what a class-agnostic detector finds."""

    @property
    def detected_names(self) -> tuple[str, ...]:
        """Of the labels of detections."""
        return self.class_names if self.video_labels is None else self.video_labels.class_names

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what is found in a video."""
        config = self.config
        decisive = {
            "weights": hash_of_weights(self.model.state_dict()),
            "class_names": self.class_names,
            "network": config.model_dump(mode="json", include={"backbone", "pyramid", "head", "postprocess"}),
            "data": config.data.model_dump(
                mode="json", include={"sampling", "test_whole", "short_side_test", "crop_size"}
            ),
            "amp": chosen_precision(config.training.amp, device=next(self.model.parameters()).device),
            "video_labels": None if self.video_labels is None else self.video_labels.best,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def settings_of(
    checkpoint: Path | None, *, config: ExperimentConfig | None, options: Sequence[str] = ()
) -> ExperimentConfig:
    """The experiment that is meant: `config`, or the one that a checkpoint holds, with `options` applied."""
    if config is not None:
        return override(config, options)
    if checkpoint is None:
        raise CheckpointError("neither a config nor a checkpoint is given; give one of them")
    return _config_of(_read(checkpoint), config=None, options=options)


def load_trained(
    path: Path,
    *,
    config: ExperimentConfig | None = None,
    classifier: Path | None = None,
    options: Sequence[str] = (),
) -> TrainedDetector:
    """Build the detector that a checkpoint is of, on the CPU.

    Args:
        path: a checkpoint of our training, or another file of a detector's weights (see `read_weights`).
        config: of its experiment; None: the one in the checkpoint.
        classifier: file of a classifier of whole videos, for a class-agnostic detector.
        options: settings to replace, as `key.sub=value`.

    Raises:
        WeightsError: the file cannot be used, or does not say what its network is.
    """
    weights = _read(path)
    settings = _with_classifier(_config_of(weights, config=config, options=options), classifier)
    class_names = weights.class_names or _class_names_of(settings, path=path)
    model = build_detector(settings, num_classes=len(class_names))
    weights = completed_by_pretrained(weights, model, settings.backbone)
    load_detector(model, weights, kind=settings.backbone.weight_names, reversible=settings.backbone.is_rewired)
    log.info("weights of %s", weights)
    labels = settings.postprocess.video_labels
    return TrainedDetector(
        path=path,
        config=settings,
        class_names=class_names,
        model=model.eval(),
        video_labels=None if labels is None else labels.read(),
    )


def completed_by_pretrained(weights: WeightsFile, model: Detector, config: BackboneConfig) -> WeightsFile:
    """The weights of a detector, with those of `backbone.pretrained` where the file leaves them to that.

    Raises:
        WeightsError: they are not those that the file was trained beside.
    """
    return completed(
        weights,
        model,
        pretrained=config.pretrained,
        reversible=config.is_rewired,
        allow=config.pretrained_allow,
        adapters=getattr(model.backbone, "adapter_names", ()),
    )


def load_backbone(config: ExperimentConfig, *, weights: Path | None) -> Backbone:
    """The backbone of an experiment, with the weights in a file of a backbone or of a whole detector."""
    if weights is None:
        raise CheckpointError(
            "features of random weights are of no use, and backbone.pretrained is None; give a --checkpoint, or set "
            "backbone.pretrained to a file of weights"
        )
    backbone = build_backbone(config.backbone)
    loaded = load_pretrained(
        backbone.network,
        path=weights,
        kind=config.backbone.weight_names,
        reversible=config.backbone.is_rewired,
        allow=config.backbone.pretrained_allow if weights == config.backbone.pretrained else (),
        adapters=backbone.adapter_names,
    )
    log.info("backbone from %s", loaded.file)
    if loaded.warning is not None:
        log.warning("pretrained weights: %s", loaded.warning)
    if coefficients(backbone) is not None:
        set_coefficients(backbone, loaded.file.coefficients)
    return backbone.eval()


def _read(path: Path) -> WeightsFile:
    require_checkpoint(path)
    return read_weights(path)


def _config_of(weights: WeightsFile, *, config: ExperimentConfig | None, options: Sequence[str]) -> ExperimentConfig:
    if config is not None:
        return override(config, options)
    if weights.config is None:
        raise CheckpointError(
            f"{weights.path} holds no config, only checkpoints of `re2tal train` do; give the config of its experiment "
            "by --config"
        )
    if weights.pixel_norm is not None and dict(weights.pixel_norm) != pixel_norm():
        raise CheckpointError(
            f"{weights.path} was trained on pixels normalised with {dict(weights.pixel_norm)}, this version normalises "
            f"with {pixel_norm()}; use the version that trained it"
        )
    own = read_json_config(weights.config, source=weights.path)
    return override(own, options)


def _with_classifier(config: ExperimentConfig, classifier: Path | None) -> ExperimentConfig:
    """`config` with the labels of `classifier`; without one, with none: that of the data set knows its videos only."""
    if classifier is None:
        labels = None
    elif not config.data.class_agnostic:
        raise CheckpointError(
            f"a classifier names what a class-agnostic detector finds, got {classifier} for a detector that tells "
            "classes apart itself; leave --classifier out"
        )
    else:
        labels = _labels_config(classifier, own=config.postprocess.video_labels)
    postprocess = config.postprocess.model_copy(update={"video_labels": labels})
    return override(config.model_copy(update={"postprocess": postprocess}), [])  # which checks that all fits together


def _labels_config(path: Path, *, own: VideoLabelsConfig | None) -> VideoLabelsConfig:
    """The layout of a classifier's file, which its content tells, unless the config has a class of one's own for it."""
    known = (CuhkConfig, UntrimmedNetConfig, SubmissionConfig)
    if own is not None and type(own) not in known:
        return own.model_copy(update={"path": path})
    top = 2 if own is None else own.top
    if path.suffix == ".npy":
        return UntrimmedNetConfig(path=path, top=top)
    try:
        content = parse_json(path.read_bytes())
    except (OSError, JsonError) as error:
        raise CheckpointError(f"the classifier's file {path} is not a readable JSON file: {error}") from None
    is_cuhk = isinstance(content, dict) and "class" in content
    return CuhkConfig(path=path, top=top) if is_cuhk else SubmissionConfig(path=path, top=top)


def _class_names_of(config: ExperimentConfig, *, path: Path) -> tuple[str, ...]:
    """Of a detector whose file does not name them."""
    data = config.data
    if data.class_agnostic:
        return (AGNOSTIC_CLASS,)
    if data.is_there():
        return find_class_names(annotations_of(data), classes=data.classes, num_classes=data.num_classes)
    if data.classes is not None:
        return read_class_names(data.classes)
    raise CheckpointError(
        f"{path} does not name its classes, and the config's data.annotations, {data.origin}, is not there to "
        "tell them; list them in a text file, one per line in the order of training, and add --cfg-options "
        "data.classes=FILE"
    )
