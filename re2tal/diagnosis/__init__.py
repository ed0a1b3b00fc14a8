"""Why the mAP is what it is, after DETAD (Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018)."""

from re2tal.diagnosis.result import (
    ERROR_TYPES,
    NUM_GROUPS,
    BinFigures,
    CharacteristicFigures,
    CharacteristicName,
    Diagnosis,
    ErrorType,
    FalsePositiveProfile,
)

__all__ = [
    "ERROR_TYPES",
    "NUM_GROUPS",
    "BinFigures",
    "CharacteristicFigures",
    "CharacteristicName",
    "Diagnosis",
    "ErrorType",
    "FalsePositiveProfile",
]
