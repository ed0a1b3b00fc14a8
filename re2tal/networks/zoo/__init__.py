"""Networks of torchvision, timm and transformers: by name, at reduced size, and what rewiring makes of them.

timm and transformers are optional: pip install "re2tal[zoo]".
"""

from re2tal.networks.zoo.measuring import ZooRow, measure, table
from re2tal.networks.zoo.named import Network, load
from re2tal.networks.zoo.reduced import REDUCED, build_reduced

__all__ = ["REDUCED", "Network", "ZooRow", "build_reduced", "load", "measure", "table"]
