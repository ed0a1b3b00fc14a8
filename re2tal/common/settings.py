"""The base of every configuration value: frozen, keyword-only, unknown keys refused."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings"]


class Settings(BaseModel):
    """A configuration value that stands beside the class it configures.

    Frozen, so that a run cannot drift from what its file says; unknown keys are refused, so that a
    typo fails when the file loads. So are NaN and infinity, which no setting means. Put a docstring under each field:
    it is the field's documentation.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
