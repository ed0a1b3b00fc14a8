"""`re2tal import-weights`, and training and testing with what it takes and writes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torchvision.models.video import swin3d_b

from re2tal import cli
from re2tal.config import load_config
from re2tal.experiments import import_weights
from re2tal.networks.backbones import build_backbone
from re2tal.training import load_checkpoint
from re2tal.weights import load_pretrained, read_weights
from tests.weights.reference_files import (
    Entry,
    Pathway,
    actionformer_entries,
    classifier,
    numbered,
    opentad_checkpoint,
    slowfast_entries,
    swin_entries,
)

# The network of `tests.tiny_experiment`.
TINY_BACKBONE = slowfast_entries(
    blocks=(2, 2),
    slow=Pathway("slow", 4, (1, 3, 3), (False, True)),
    fast=Pathway("fast", 2, (3, 3, 3), (True, True)),
    fusion=3,
)
TINY_REST = actionformer_entries(inputs=48, channels=8, classes=2, arch=(1, 1, 2))


def write_recogniser(path: Path, entries: list[Entry], *, leave_out: str = "nothing") -> Path:
    tensors = numbered((f"backbone.{e.rewired}", e.shape) for e in entries if leave_out not in e.rewired)
    torch.save({"meta": {}, "state_dict": tensors | classifier(8)}, path)
    return path


def test_a_backbone_is_recognised_and_told_of(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_recogniser(tmp_path / "invswin.pth", swin_entries())
    destination = tmp_path / "re2swin.safetensors"
    assert re2tal("import-weights", source, destination) == 0
    shown = capsys.readouterr().out
    for line in (
        f"{source}: rewired Video Swin (Re2TAL)",
        "as Swin-T",
        "placed 171: patch_embed.proj 2, patch_embed.norm 2, features.0 26, ",
        "dropped, computed from the window size (12):",
        "    backbone.layers.3.blocks.1.inv_block.Fm.attn.relative_position_index",
        "dropped, the classifier of the pretraining (2):",
        f"written to {destination}",
    ):
        assert line in shown
    assert "missing" not in shown
    with safe_open(destination, framework="pt") as file:
        assert len(file.keys()) == 171
        metadata = file.metadata()
    assert metadata["source"] == "invswin.pth" and metadata["network"] == "Swin-T" and metadata["rewired"] == "true"
    assert len(metadata["sha256"]) == 64
    assert re2tal("import-weights", source, destination).startswith(f"error: there is a {destination} already; add")
    assert re2tal("import-weights", source, destination, "--overwrite") == 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_detector_is_recognised_by_its_sizes(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = numbered((f"backbone.model.backbone.{e.plain}", e.shape) for e in swin_entries())
    rest = actionformer_entries(inputs=768, channels=256, classes=1)
    state = network | numbered(((theirs, shape) for theirs, _, shape in rest), start=1000)
    torch.save(opentad_checkpoint(state, averaged=state, epoch=14), tmp_path / "epoch_14.pth")
    destination = tmp_path / "detector.safetensors"
    assert re2tal("import-weights", tmp_path / "epoch_14.pth", destination, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["network"] == "ActivityNet-1.3 detector with Swin-T"
    assert (told["part"], told["writer"], told["rewired"]) == ("detector", "OpenTAD", False)
    assert (told["averaged"], told["epoch"]) == (True, 14)
    assert (len(told["placed"]), len(told["dropped"])) == (171 + 230, 12)
    assert told["missing"] == told["unexpected"] == told["of_another_shape"] == []
    file = read_weights(destination)
    assert (file.averaged, file.epoch, file.layout.rewired, file.layout.part) == (True, 14, False, "detector")
    assert all(file.tensors[own].flatten()[0] == state[theirs].flatten()[0] for theirs, own, _ in rest)
    assert file.tensors["head.loss_normalizer"].dtype == torch.float32


def test_larger_swins_of_torchvision_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_weights, "write_weights", lambda *_, **__: None)  # it would be 350 MB
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in swin3d_b().state_dict().items()}
    torch.save(numbered(shapes.items()), tmp_path / "swin3d_b.pth")
    done = import_weights.import_weights(tmp_path / "swin3d_b.pth", tmp_path / "out.safetensors")
    assert done.network == "Swin-B" and done.placement.differences() == ""


def test_what_does_not_fit_is_an_error_unless_allowed(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_recogniser(tmp_path / "part.pth", swin_entries(), leave_out="layers.3.blocks.1.inv_block.Gm")
    destination = tmp_path / "out.safetensors"
    status = re2tal("import-weights", source, destination)
    assert status.startswith(f"error: {source}: rewired Video Swin (Re2TAL), compared with Swin-T, does not fit")
    lost = [f"{name}.{kind}" for name in ("norm2", "mlp.0", "mlp.3") for kind in ("weight", "bias")]
    assert "missing, only in the model (6):" in status and "--allow" in status
    assert all(f"\n    features.6.1.{name} (" in status for name in lost)
    assert not destination.exists()
    command = ("import-weights", source, destination, "--json", "--allow", "features.6.1.norm2.*", "*.mlp.*")
    capsys.readouterr()
    assert re2tal(*command) == 0
    told = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in told["missing"]] == [f"features.6.1.{name}" for name in lost]
    assert len(told["placed"]) == 171 - 6 == len(read_weights(destination).tensors)


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("out.pth", "weights are written as .safetensors, got"),
        ("folder.safetensors", "is a folder; give the name of a file"),
        ("source.safetensors", "is the file to read; give another name"),
    ],
)
def test_where_not_to_write(re2tal: Any, tmp_path: Path, destination: str, message: str) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    source = tmp_path / "source.safetensors"
    source.write_bytes(b"anything")
    assert message in re2tal("import-weights", source, tmp_path / destination, "--overwrite")
    assert source.read_bytes() == b"anything"


def test_a_config_of_another_network_is_refused(re2tal: Any, tiny: Path, tmp_path: Path) -> None:
    source = write_recogniser(tmp_path / "swin.pth", swin_entries(embed_dim=4, depths=(1,), heads=(1,)))
    status = re2tal("import-weights", source, tmp_path / "out.safetensors", "--config", tiny)
    assert "holds a rewired Video Swin (Re2TAL), and the config describes a slowfast" in status


@pytest.fixture(scope="module")
def trained(tiny: Path) -> Path:
    """The folder of a finished run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["re2tal", "train", str(tiny), "--cfg-options", "training.epochs=1"])
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code
    return tiny.parent / "exps/gpu1_id0"


def as_opentad(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the tiny detector under OpenTAD's names."""
    names = {f"backbone.network.{e.ours}": f"backbone.model.backbone.{e.rewired}" for e in TINY_BACKBONE}
    names |= {own: theirs for theirs, own, _ in TINY_REST}
    state = {names[name]: value for name, value in weights.items()}
    # An integer, as the reference has it.
    state["rpn_head.loss_normalizer"] = state["rpn_head.loss_normalizer"].long()
    return state


@pytest.mark.parametrize("averaged", [True, False])
def test_checkpoints_of_the_reference_are_tested_as_they_are(
    re2tal: Any, tiny: Path, trained: Path, tmp_path: Path, averaged: bool
) -> None:
    assert re2tal("test", tiny) == 0
    expected = (trained / "detections.json").read_text(), (trained / "metrics.json").read_text()
    state = as_opentad(load_checkpoint(trained / "checkpoint/best.pth")["weights"])
    wrong = {name: torch.zeros_like(value) for name, value in state.items()}
    content = opentad_checkpoint(wrong, averaged=state) if averaged else opentad_checkpoint(state, averaged=None)
    reference, imported = tmp_path / "epoch_119.pth", tmp_path / "imported.safetensors"
    torch.save(content, reference)
    assert re2tal("import-weights", reference, imported, "--config", tiny) == 0
    for number, path in enumerate((reference, imported), start=10 + 2 * averaged):
        assert re2tal("test", tiny, "--checkpoint", path, "--id", number) == 0
        folder = tiny.parent / f"exps/gpu1_id{number}"
        assert ((folder / "detections.json").read_text(), (folder / "metrics.json").read_text()) == expected
        log = (folder / "log.txt").read_text()
        assert "does not name its classes; they are taken in the data's order: flash, glow (2)" in log
        assert ("averaged weights" if averaged else "last weights, no average") in log and "epoch 119" in log


def far_from_fresh(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the tiny detector whose backbone is known again."""
    return {n: v + 0.5 if v.dim() > 1 and n.startswith("backbone.") else v for n, v in weights.items()}


def test_training_starts_from_pretrained_weights(re2tal: Any, tiny: Path, trained: Path, tmp_path: Path) -> None:
    path, prefix = tmp_path / "pretrained.pth", "backbone.model."
    weights = far_from_fresh(load_checkpoint(trained / "checkpoint/best.pth")["weights"])
    state = {n.removeprefix(prefix): v for n, v in as_opentad(weights).items() if n.startswith(prefix)}
    torch.save({"state_dict": state | classifier(8)}, path)
    still = ["training.epochs=1", "training.backbone_learning_rate=1e-12", f"backbone.pretrained={path}"]
    assert re2tal("train", tiny, "--id", 20, "--not_eval", "--cfg-options", *still) == 0
    folder = tiny.parent / "exps/gpu1_id20"
    checkpoint = folder / "checkpoint/epoch_0.pth"
    after = load_checkpoint(checkpoint)["training_weights"]
    for name, value in weights.items():
        if name.startswith("backbone.") and value.dim() > 1:
            torch.testing.assert_close(after[name], value, rtol=1e-6, atol=1e-6)
    assert f"backbone from {path}: rewired SlowFast (Re2TAL)" in (folder / "log.txt").read_text()

    path.unlink()
    gone = ["training.epochs=2", f"backbone.pretrained={path}"]
    status = re2tal("train", tiny, "--id", 21, "--not_eval", "--cfg-options", *gone)
    assert status.startswith(f"error: there are no pretrained weights {path}; put them there, or start from fresh")
    # Neither resuming nor testing needs them.
    assert re2tal("train", tiny, "--id", 20, "--not_eval", "--resume", checkpoint, "--cfg-options", *gone) == 0
    assert re2tal("test", tiny, "--id", 20, "--checkpoint", checkpoint, "--not_eval", "--cfg-options", *gone) == 0


def test_a_checkpoint_of_ours_gives_its_backbone(tiny: Path, trained: Path) -> None:
    backbone = load_config(tiny).backbone
    path = trained / "checkpoint/best.pth"
    network = build_backbone(backbone).network
    done = load_pretrained(network, path=path, kind=backbone.kind, reversible=True)
    weights = load_checkpoint(path)["weights"]
    assert all(torch.equal(value, weights[f"backbone.network.{name}"]) for name, value in network.state_dict().items())
    assert set(done.placement.dropped) == {name for name in weights if not name.startswith("backbone.")}
    assert done.warning is None
    told = load_pretrained(build_backbone(backbone).network, path=path, kind=backbone.kind, reversible=False).warning
    assert told is not None and "rewired network" in told


def test_an_imported_checkpoint_of_ours_keeps_its_classes(
    re2tal: Any, tiny: Path, trained: Path, tmp_path: Path
) -> None:
    imported = tmp_path / "imported.safetensors"
    assert re2tal("import-weights", trained / "checkpoint/best.pth", imported, "--config", tiny) == 0
    file = read_weights(imported)
    assert (file.class_names, file.layout.rewired, file.epoch) == (("flash", "glow"), True, 0)


def test_a_checkpoint_of_the_other_wiring_is_not_tested(re2tal: Any, tiny: Path, trained: Path) -> None:
    status = re2tal("test", tiny, "--cfg-options", "backbone.reversible=false")
    assert "holds a detector with a rewired SlowFast (re2tal), and the config has backbone.reversible=False" in status
