"""Train residual networks without storing their activations. Imports nothing but torch.

    model = rewire(model)          # same parameters, same names; residual chains become reversible
    print(verify(model, example))  # gradients against plain autograd, recovered streams, bytes saved

Zhao et al., "Re2TAL: Rewiring Pretrained Video Backbones for Reversible Temporal Action Localization", CVPR 2023.
"""

from re2tal.reversible.branch import Branch
from re2tal.reversible.by_example import BlockReport, Example, Rewiring
from re2tal.reversible.cells import Cell, CellSize, Locality, Mode
from re2tal.reversible.chain import ReversibleChain
from re2tal.reversible.coefficients import Coefficients
from re2tal.reversible.grid import GridOverflowError
from re2tal.reversible.non_finite import Origin, first_non_finite
from re2tal.reversible.recomputed import first_to_differ
from re2tal.reversible.rewiring import (
    ReconstructionWarning,
    RewiredSequential,
    chains,
    coefficients,
    examine,
    headrooms,
    reconstruction_error,
    reconstruction_errors,
    report_of,
    rewire,
    set_cells,
    set_coefficients,
    set_headrooms,
    set_lanes,
    set_mode,
    sharding_units,
    unrewire,
)
from re2tal.reversible.stepwise import StepwiseChain
from re2tal.reversible.verification import Verification, verify

__all__ = [
    "BlockReport",
    "Branch",
    "Cell",
    "CellSize",
    "Coefficients",
    "Example",
    "GridOverflowError",
    "Locality",
    "Mode",
    "Origin",
    "ReconstructionWarning",
    "ReversibleChain",
    "RewiredSequential",
    "Rewiring",
    "StepwiseChain",
    "Verification",
    "chains",
    "coefficients",
    "examine",
    "first_non_finite",
    "first_to_differ",
    "headrooms",
    "reconstruction_error",
    "reconstruction_errors",
    "report_of",
    "rewire",
    "set_cells",
    "set_coefficients",
    "set_headrooms",
    "set_lanes",
    "set_mode",
    "sharding_units",
    "unrewire",
    "verify",
]
