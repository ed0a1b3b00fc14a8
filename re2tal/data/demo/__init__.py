"""A made-up set of videos in which only motion over time tells the actions apart."""

from re2tal.data.demo.files import make_demo_set
from re2tal.data.demo.motion import CLASSES

__all__ = ["CLASSES", "make_demo_set"]
