"""Features of one length -> a pyramid of levels, each half as long as the one before."""

from re2tal.networks.pyramid.interface import FeaturePyramid, PyramidSettings
from re2tal.networks.pyramid.pyramid import Pyramid, PyramidConfig

__all__ = ["FeaturePyramid", "Pyramid", "PyramidConfig", "PyramidSettings"]
