"""Why the mAP is what it is, after Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018."""

from re2tal.evaluation.diagnosis.diagnose import diagnose
from re2tal.evaluation.diagnosis.errors import prediction_errors
from re2tal.evaluation.diagnosis.result import (
    ERROR_TYPES,
    NUM_GROUPS,
    BinFigures,
    CharacteristicFigures,
    Diagnosis,
    ErrorType,
)
from re2tal.evaluation.diagnosis.table import print_diagnosis

__all__ = [
    "ERROR_TYPES",
    "NUM_GROUPS",
    "BinFigures",
    "CharacteristicFigures",
    "Diagnosis",
    "ErrorType",
    "diagnose",
    "prediction_errors",
    "print_diagnosis",
]
