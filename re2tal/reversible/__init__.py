"""Train residual networks without storing their activations. Imports nothing but torch.

    model = rewire(model)          # same parameters, same names; residual chains become reversible
    print(verify(model, example))  # gradients against plain autograd, recovered streams, bytes saved

Zhao et al., "Re2TAL: Rewiring Pretrained Video Backbones for Reversible Temporal Action Localization", CVPR 2023.
"""

from re2tal.reversible.branch import Branch
from re2tal.reversible.chain import Chain
from re2tal.reversible.checks import call_asking_once
from re2tal.reversible.debug.determinism import first_to_differ
from re2tal.reversible.debug.non_finite import Origin, first_non_finite
from re2tal.reversible.debug.verify import Verification, verify
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.fixed_point import StreamOverflowError
from re2tal.reversible.reversible_chain import ReversibleChain
from re2tal.reversible.rewire.plan import BlockReport, Example, Rewiring
from re2tal.reversible.rewire.rewiring import examine, report_of, rewire, unrewire
from re2tal.reversible.rewire.settings import (
    ReconstructionWarning,
    chains,
    coefficients,
    compile_branches,
    headrooms,
    keep_on_host,
    reconstruction_error,
    reconstruction_errors,
    reconstruction_tensors,
    set_cells,
    set_coefficients,
    set_headrooms,
    set_mode,
    set_storage,
    set_tiles,
    sharding_units,
    storage,
)
from re2tal.reversible.spending import Spending, fastest_storage, measure_costs, spend_memory, stored_bytes
from re2tal.reversible.stored import StoredWarning
from re2tal.reversible.tiles import Mode, Tile, TileSize, Tiling

__all__ = [
    "BlockReport",
    "Branch",
    "Chain",
    "Coefficients",
    "Example",
    "Mode",
    "Origin",
    "ReconstructionWarning",
    "ReversibleChain",
    "Rewiring",
    "Spending",
    "StoredWarning",
    "StreamOverflowError",
    "Tile",
    "TileSize",
    "Tiling",
    "Verification",
    "call_asking_once",
    "chains",
    "coefficients",
    "compile_branches",
    "examine",
    "fastest_storage",
    "first_non_finite",
    "first_to_differ",
    "headrooms",
    "keep_on_host",
    "measure_costs",
    "reconstruction_error",
    "reconstruction_errors",
    "reconstruction_tensors",
    "report_of",
    "rewire",
    "set_cells",
    "set_coefficients",
    "set_headrooms",
    "set_mode",
    "set_storage",
    "set_tiles",
    "sharding_units",
    "spend_memory",
    "storage",
    "stored_bytes",
    "unrewire",
    "verify",
]
