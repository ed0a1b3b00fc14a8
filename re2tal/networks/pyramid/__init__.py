"""Features of one length -> a pyramid of levels, each half as long as the one before."""

from re2tal.networks.pyramid.interface import FeaturePyramid, PyramidSettings
from re2tal.networks.pyramid.maxpool import MaxPoolPyramidConfig
from re2tal.networks.pyramid.pyramid import Pyramid, PyramidConfig
from re2tal.networks.pyramid.sgp import SgpPyramidConfig

__all__ = [
    "FeaturePyramid",
    "MaxPoolPyramidConfig",
    "Pyramid",
    "PyramidConfig",
    "PyramidSettings",
    "SgpPyramidConfig",
]
