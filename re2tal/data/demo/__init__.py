"""A made-up set of videos in which only motion over time tells the actions apart."""

from re2tal.data.demo.files import make_demo_set
from re2tal.data.demo.long import LONG_CLASSES
from re2tal.data.demo.motion import CLASSES

__all__ = ["CLASSES", "LONG_CLASSES", "make_demo_set"]
