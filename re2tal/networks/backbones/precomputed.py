"""The place of a backbone in a detector of features that others have extracted."""

from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from re2tal.networks.backbones.config import NetworkConfig

__all__ = ["PrecomputedConfig"]


class PrecomputedConfig(NetworkConfig):
    """No network: clips are features that others have extracted (`data.kind="features"`)."""

    weight_names: ClassVar[Literal["precomputed"]] = "precomputed"

    kind: Literal["precomputed"] = "precomputed"
    """Names this class in a file or on the command line."""
    out_channels: PositiveInt
    """Channels of a feature, of all files together."""

    def build_network(self) -> nn.Module:
        """Nothing but an error where pixels are given."""
        return Precomputed()

    @model_validator(mode="after")
    def _has_nothing_to_train(self) -> "PrecomputedConfig":
        names = {"reversible", "activation_checkpointing", "frozen", "pretrained", "chunk_frames"}
        said = names & self.model_fields_set
        if named := sorted(name for name in said if getattr(self, name)):
            raise ValueError(
                f"a backbone of kind precomputed has no weights, got {', '.join(named)}; leave them out, or choose the "
                "network that made the features"
            )
        return self


class Precomputed(nn.Module):
    """Stands where a network would, without a weight."""

    def forward(self, frames: Tensor) -> Tensor:
        """
        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this detector was trained on features that others have extracted, and takes no videos; extract the same "
            "features of them, and run re2tal test with their subset as data.test_subset"
        )
