"""Conversion for inference: torch.export, torch.jit.trace and ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from working_with.judging import Case
from working_with.networks import output_of
from working_with.steps import Recording, Setting


def _exported(setting: Setting) -> Recording:
    model = setting.rewired(setting.model()).eval()
    args, _ = setting.network.inputs(setting.batch(0))
    program = torch.export.export(model, args)
    return _outputs(setting, program.module())


def _traced(setting: Setting) -> Recording:
    model = setting.rewired(setting.model()).eval()
    args, _ = setting.network.inputs(setting.batch(0))
    return _outputs(setting, torch.jit.trace(model, args))


def _onnx(setting: Setting) -> Recording:
    """Export, and compute with onnxruntime."""
    import onnxruntime

    model = setting.rewired(setting.model()).eval()
    (x,), _ = setting.network.inputs(setting.batch(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for step in range(2):
            (given,), _ = setting.network.inputs(setting.batch(step))
            (found,) = session.run(None, {name: given.numpy()})
            setting.recording.put("outputs", str(step), torch.from_numpy(found))
    return setting.recording


def _outputs(setting: Setting, converted: torch.nn.Module) -> Recording:
    with torch.no_grad():
        for step in range(2):
            setting.recording.put("outputs", str(step), output_of(converted, setting.network, setting.batch(step)))
    return setting.recording


def cases() -> list[Case]:
    """One for each tool and network."""
    single = {"dtype": torch.float32, "tolerance": 1e-5}
    found = []
    for name in ("ViT", "Swin3d"):
        found += [
            Case("torch.export", "torch", name, _exported),
            Case("torch.jit.trace", "torch", name, _traced),
            Case("torch.onnx.export", "onnxruntime", name, _onnx, **single),
        ]
    return found
