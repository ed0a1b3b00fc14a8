"""Networks of torchvision, timm and transformers: by name, and what rewiring makes of them.

timm and transformers are optional: pip install "re2tal[zoo]".
"""

from re2tal.networks.zoo.known import KNOWN
from re2tal.networks.zoo.measuring import ZooRow, measure, print_rows
from re2tal.networks.zoo.named import Network, load

__all__ = ["KNOWN", "Network", "ZooRow", "load", "measure", "print_rows"]
