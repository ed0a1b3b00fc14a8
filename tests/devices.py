"""The devices that a test runs on: every test of a GPU runs on the CPU, too, where that tells something."""

import pytest
import torch

CUDA = pytest.param(
    "cuda:0",
    id="cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        # What `re2tal train` lets torch tell of kernels that have no repeating version.
        pytest.mark.filterwarnings("ignore:.*deterministic"),
    ],
)
DEVICES = ["cpu", CUDA]
