"""Residual blocks of unknown classes: found, and taken apart, by tracing a network on one example.

recording.py   what the network computes, operation by operation, module by module
residual.py    the stream through a module, and what is added to it
tape.py        one of these branches, to be played on other tensors
tokens.py      whether a branch works on each token alone, and so in tiles
splitting.py   all branches of a module, and the check that they rebuild it
search.py      which modules are blocks, and which follow each other
"""

from re2tal.reversible.tracing.arguments import CallArguments
from re2tal.reversible.tracing.recording import record
from re2tal.reversible.tracing.residual import Refused
from re2tal.reversible.tracing.search import chains_of, find_blocks
from re2tal.reversible.tracing.splitting import BlockSplit, examined, refuse_objects, split

__all__ = [
    "BlockSplit",
    "CallArguments",
    "Refused",
    "chains_of",
    "examined",
    "find_blocks",
    "record",
    "refuse_objects",
    "split",
]
