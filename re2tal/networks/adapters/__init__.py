"""Small networks trained inside or beside a pretrained one, whose own weights mostly stay as they are."""

from re2tal.networks.adapters.ladder import LadderConfig
from re2tal.networks.adapters.low_rank import LowRankConfig
from re2tal.networks.adapters.placing import BlockLayout, TrainedPart, adapt
from re2tal.networks.adapters.settings import AdapterSettings
from re2tal.networks.adapters.temporal import TemporalAdapterConfig, tell_sub_clips

__all__ = [
    "AdapterSettings",
    "BlockLayout",
    "LadderConfig",
    "LowRankConfig",
    "TemporalAdapterConfig",
    "TrainedPart",
    "adapt",
    "tell_sub_clips",
]
