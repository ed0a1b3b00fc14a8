"""Every reader of files that others write, with damaged documents for it."""

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from re2tal.cli.reporting import sources_of_run
from re2tal.config import ExperimentConfig, load_config, override, read_json_config
from re2tal.config.presets import demo
from re2tal.data import find_class_names, read_features
from re2tal.data.annotations import read_annotations, read_ids, select_subset
from re2tal.data.features import write_features
from re2tal.detections.video_scores import CuhkConfig, SubmissionConfig, UntrimmedNetConfig
from re2tal.evaluation import evaluate_files, read_blocked, read_files, read_ground_truth, read_predictions
from re2tal.evaluation.diagnosis import diagnose
from re2tal.labels import Reading, ReadOptions, read_class_names, read_sources
from re2tal.report import write_report
from re2tal.training import CheckpointError, load_checkpoint
from re2tal.weights import WeightsError, read_weights
from text_corpus import sound
from text_corpus.damage import any_json, damaged_bytes, damaged_json, damaged_text, damaged_values, odd_words

__all__ = ["TARGETS", "Target"]

Read = Callable[[Path, Any], object]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of file."""

    cases: st.SearchStrategy[Any]
    read: Read
    """Is given an empty folder and a case; gives what was read, or raises."""
    weight: float = 1.0
    """Share of the cases, relative to the others: less for what takes long."""


def _file(name: str, read: Callable[[Path], object]) -> Read:
    def act(folder: Path, content: bytes) -> object:
        path = folder / name
        path.write_bytes(content)
        return read(path)

    return act


def _annotations(path: Path) -> object:
    found = read_annotations(path)
    subset = next((video.subset for video in found.videos), "training")
    return find_class_names(found), select_subset(found, subset)


def _package(folder: Path, case: tuple[bytes, bytes]) -> object:
    for name, content in zip(("a.json", "subsets.csv"), case, strict=True):
        (folder / name).write_bytes(content)
    return read_annotations(folder / "a.json", subset_file=folder / "subsets.csv")


def _thumos(folder: Path, content: bytes) -> object:
    (folder / "Run_test.txt").write_bytes(content)
    return read_annotations(folder), read_ground_truth(folder, subset="Test")


def _evaluation(folder: Path, case: tuple[bytes, bytes]) -> object:
    for name, content in zip(("truth.json", "found.json"), case, strict=True):
        (folder / name).write_bytes(content)
    evaluate_files(folder / "truth.json", folder / "found.json", subset=("training", "validation"), tious=(0.5, 0.7))
    truth, found = read_files(folder / "truth.json", folder / "found.json", subset=("training", "validation"))
    return diagnose(truth, found, tious=(0.5, 0.7))


def _npz() -> bytes:
    file = io.BytesIO()
    columns = {"t_start": [0.0, 1.0], "t_end": [1.0, 2.0], "score": [0.5, 0.25]}
    np.savez(file, video_id=["one", "two"], label=["run", "jump"], **columns)  # type: ignore[arg-type]
    return file.getvalue()


@st.composite
def _npy(draw: st.DrawFn) -> bytes:
    """An array, the text of whose header is damaged."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 101), }"
    for _ in range(draw(st.integers(0, 2))):
        old = draw(st.sampled_from(("'<f8'", "False", "3", "101", "'shape'", "(3, 101)", "}", "'descr'")))
        new = st.sampled_from(
            ("'|O'", "'<f4'", "'<U9'", "[('a', '<f8')]", "1" * 13, "-1", "0", "(" * 200, "None", "()")
        )
        header = header.replace(old, draw(st.one_of(new, odd_words)))
    raw = header.encode("utf-8", "surrogatepass")
    text = b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(raw) + 1, 65535)) + raw[:65534] + b"\n"
    return draw(damaged_bytes(text + np.full((3, 101), 0.1).tobytes()))


def _own(folder: Path, content: bytes, *, name: str) -> list[Reading]:
    return _file(name, lambda path: read_sources([path], format_=None, options=ReadOptions()))(folder, content)  # type: ignore[return-value]


@cache
def _config() -> ExperimentConfig:
    return demo(data=Path("data"), work_dir=Path("exps"))


def _keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    inner = [_keys(value, f"{prefix}{name}.") for name, value in values.items() if isinstance(value, dict)]
    return [prefix + name for name in values] + [key for keys in inner for key in keys]


_literals = st.sampled_from((
    "1", "-1", "nan", "inf", "1e400", "(1,2)", "[1,", "(64,64)", "(" * 500, "[" * 200_000, "{[]: 1}", "{1: 2}",
    "None", "['a','b']", "(1,2)(3)", "{'kind': 'swin'}", "[1j]", "{1,2}", "[b'x']", "[...]", "(lambda: 1)",
    "[__import__('os')]",
    "__import__('os').system('x')", "('\\d',)", "[" + "9" * 5000 + "]", "(" + "9" * 400 + ",1)", "{**{}}",
    "true",
))  # fmt: skip


@st.composite
def _options(draw: st.DrawFn) -> list[str]:
    keys = st.one_of(st.sampled_from(_keys(_config().model_dump())), st.text(max_size=9), st.just("data" + ".x" * 300))
    values = st.one_of(_literals, odd_words, any_json.map(json.dumps))
    pairs = st.tuples(keys, st.sampled_from(("=", "=", "=", "")), values).map("".join)
    return draw(st.lists(pairs, min_size=1, max_size=3))


_STATE = {"backbone.patch_embed.proj.bias": torch.ones(2), "backbone.norm3.bias": torch.zeros(2)}


def _checkpoint() -> dict[str, Any]:
    return {
        "format": "re2tal-1",
        "weights": {f"backbone.network.{name.removeprefix('backbone.')}": value for name, value in _STATE.items()},
        "config": _config().model_dump_json(),
        "class_names": ["run", "jump"],
        "epoch": 3,
        "pixel_norm": {"mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 1.0]},
    }


@st.composite
def _pickled(draw: st.DrawFn) -> bytes:
    content = draw(damaged_values(draw(st.sampled_from((_checkpoint(), {"epoch": 3, "state_dict": dict(_STATE)})))))
    file = io.BytesIO()
    try:
        torch.save(content, file, _use_new_zipfile_serialization=draw(st.booleans()))
    except Exception:  # what cannot be written
        return b"\x80\x02."
    return draw(damaged_bytes(file.getvalue()))


def _weights(path: Path) -> object:
    file = read_weights(path)
    try:
        load_checkpoint(path)
    except CheckpointError:  # of another program
        pass
    except WeightsError:  # of safetensors
        pass
    return str(file), file.backbone().tensors


@st.composite
def _safetensors(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file whose header, which is JSON, is damaged."""
    length = int.from_bytes(whole[:8], "little")
    header = draw(damaged_json(json.loads(whole[8 : 8 + length])))
    told = draw(st.sampled_from((len(header),) * 8 + (0, 2**40, 2**63 - 1, len(header) + 1)))
    return told.to_bytes(8, "little") + header + whole[8 + length :]


def _imported() -> bytes:
    noted = {
        "format": "re2tal-weights-1",
        "rewired": "true",
        "averaged": "null",
        "epoch": "3",
        "class_names": '["run"]',
    }
    return save({"features.0.0.norm1.bias": torch.ones(2), "patch_embed.proj.bias": torch.ones(2)}, metadata=noted)


def _features() -> bytes:
    about = {
        "num_frames": 48, "duration_seconds": 6.0, "num_steps": 24, "seconds_per_step": 0.25, "input": {},
        "network": {}, "weights": "best.pth", "weights_sha256": "00", "source": {"file": "one.mp4"},
    }  # fmt: skip
    file = io.BytesIO()
    clips = [torch.ones(2, 16), torch.zeros(2, 16)]
    write_features(file, clips, starts=(0, 8), channels=2, length=16, about=about)  # type: ignore[arg-type]
    return file.getvalue()


def _read_features(path: Path) -> object:
    found = read_features(path)
    return [found.window(start) for start in found.starts], found.whole()


def _perhaps_damaged(document: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(json.dumps(document).encode()), damaged_json(document))


@st.composite
def _runs(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a run, of which each is sound as often as not."""
    config = json.loads(_config().model_dump_json())
    return {
        "metrics.jsonl": b"\n".join(draw(_perhaps_damaged(record)) for record in sound.METRICS),
        "config.json": draw(_perhaps_damaged(config)),
        "detections.json": draw(_perhaps_damaged(sound.PREDICTIONS)),
        "truth.json": draw(_perhaps_damaged(sound.ACTIVITYNET)),
    }


def _report(folder: Path, files: dict[str, bytes]) -> object:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return write_report(sources_of_run(folder, ground_truth=folder / "truth.json"), out=folder / "report.html")


def _own_json(document: Any) -> Target:
    return Target(cases=damaged_json(document), read=lambda folder, raw: _own(folder, raw, name="x.json"))


def _own_table(text: str) -> Target:
    return Target(cases=damaged_text(text), read=lambda folder, raw: _own(folder, raw, name="one.csv"))


def _labels(kind: type[CuhkConfig] | type[SubmissionConfig], document: Any) -> Target:
    return Target(cases=damaged_json(document), read=_file("x.json", lambda path: kind(path=path, top=2).read()))


_pairs = st.tuples(_perhaps_damaged(sound.ACTIVITYNET), _perhaps_damaged(sound.PREDICTIONS))

TARGETS: dict[str, Target] = {
    "annotations: ActivityNet": Target(
        cases=damaged_json(sound.ACTIVITYNET), read=_file("a.json", _annotations), weight=3
    ),
    "annotations: feature package": Target(
        cases=st.tuples(damaged_json(sound.PACKAGE), damaged_text(sound.SUBSETS)), read=_package
    ),
    "annotations: THUMOS-14": Target(cases=damaged_text(sound.THUMOS), read=_thumos),
    "lists of names": Target(
        cases=damaged_text("run\njump\n"),
        read=_file("x.txt", lambda path: read_ids(path)),
    ),
    "lists of blocked videos": Target(cases=damaged_json(sound.BLOCKED), read=_file("x.json", read_blocked)),
    "ground truth, predictions, mAP": Target(cases=_pairs, read=_evaluation, weight=3),
    "predictions: NPZ": Target(cases=damaged_bytes(_npz()), read=_file("x.npz", read_predictions)),
    "classifier: CUHK": _labels(CuhkConfig, sound.CUHK),
    "classifier: submission": _labels(SubmissionConfig, sound.SUBMISSION),
    "classifier: NPY": Target(cases=_npy(), read=_file("x.npy", lambda path: UntrimmedNetConfig(path=path).read())),
    "own data: ActivityNet": _own_json(sound.ACTIVITYNET),
    "own data: numbered classes": _own_json(sound.NUMBERED),
    "own data: BORIS": _own_json(sound.BORIS_PROJECT),
    "own data: VIA": _own_json(sound.VIA_PROJECT),
    "own data: ELAN": Target(
        cases=damaged_text(sound.ELAN), read=lambda folder, raw: _own(folder, raw, name="x.eaf"), weight=2
    ),
    **{f"own data: table, {name}": _own_table(text) for name, text in sound.TABLES.items()},
    "own data: names of classes": Target(
        cases=damaged_text("7 CleanAndJerk\nc000 Holding some clothes\n"), read=_file("x.txt", read_class_names)
    ),
    "config: overrides": Target(cases=_options(), read=lambda _, options: override(_config(), options), weight=3),
    "config: files": Target(
        # Words of the list alone, and no bytes: a config file is code, and is run.
        cases=st.tuples(
            st.integers(0, len(sound.CONFIG)), st.sampled_from(("", "(", "1/0", "\0", "x", "9" * 5000))
        ).map(lambda case: (sound.CONFIG[: case[0]] + case[1] + sound.CONFIG[case[0] + 9 :]).encode()),
        read=_file("config.py", load_config),
        weight=0.5,
    ),
    "config: JSON in a checkpoint": Target(
        cases=damaged_json(json.loads(_config().model_dump_json())),
        read=lambda _, raw: read_json_config(raw.decode(errors="surrogateescape"), source="best.pth"),
    ),
    "weights: files of torch.save": Target(cases=_pickled(), read=_file("x.pth", _weights), weight=2),
    "weights: safetensors": Target(cases=_safetensors(_imported()), read=_file("x.safetensors", _weights)),
    "features": Target(cases=_safetensors(_features()), read=_file("x.safetensors", _read_features)),
    "report of a run": Target(cases=_runs(), read=_report, weight=0.5),
}
