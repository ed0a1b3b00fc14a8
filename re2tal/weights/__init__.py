"""Weights in files: of this package and of others, read safely, renamed, and placed tensor by tensor."""

from re2tal.weights.errors import WeightsError
from re2tal.weights.files import CHECKPOINT_FORMAT, WeightsFile, read_weights, write_weights
from re2tal.weights.hashing import hash_of_weights
from re2tal.weights.intact import require_intact
from re2tal.weights.loading import Pretrained, fitted, load_detector, load_pretrained, require_kind
from re2tal.weights.names import BACKBONE_PREFIX, Layout, map_names
from re2tal.weights.part import completed, write_part
from re2tal.weights.pickles import load_pickle
from re2tal.weights.placing import Placement, compare, place, refuse, require_finite

__all__ = [
    "BACKBONE_PREFIX",
    "CHECKPOINT_FORMAT",
    "Layout",
    "Placement",
    "Pretrained",
    "WeightsError",
    "WeightsFile",
    "compare",
    "completed",
    "fitted",
    "hash_of_weights",
    "load_detector",
    "load_pickle",
    "load_pretrained",
    "map_names",
    "place",
    "read_weights",
    "refuse",
    "require_finite",
    "require_intact",
    "require_kind",
    "write_part",
    "write_weights",
]
