"""The classes under examples/, each trained, planned, explained, saved, loaded back and used, in small."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.common.extension import Extensible, extension
from re2tal.common.types import Detections
from re2tal.config import load_config
from re2tal.config.building import build_detector
from re2tal.data import annotations_of, collate, training_clips
from re2tal.detections import SubmissionConfig
from re2tal.experiments.explain import times_of
from re2tal.inference import load_trained
from re2tal.networks.heads import HeadSettings
from re2tal.video import AugmentConfig, RandAugmentConfig, augment, write_video
from re2tal.video.rand_augment import draw_operations
from tests.extending.conftest import BACKBONE, EXAMPLES, HEAD, Bursts
from tests.tiny_experiment import make_tiny_experiment

CONFIG = EXAMPLES / "data/config.py"
PYRAMID = f"pyramid={{'source':'{EXAMPLES}/networks/small.py:PooledConfig','channels':8,'num_levels':3}}"


@pytest.mark.parametrize("parts", [[], [HEAD], [PYRAMID]], ids=["data and backbone", "head", "pyramid"])
def test_it_is_trained_tested_reported_and_predicts(
    re2tal: Any, options: list[str], tmp_path: Path, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [option for option in options if not (parts == [PYRAMID] and "pyramid" in option)] + parts
    assert re2tal("train", CONFIG, "--cfg-options", *options) == 0
    assert re2tal("test", CONFIG, "--cfg-options", *options) == 0
    run = tmp_path / "exps/gpu1_id0"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert len(steps) == 4 and ("heat_loss" in steps[0]) == (parts == [HEAD])
    assert set(json.loads((run / "ground_truth.json").read_text())["database"]) >= {"bursts4", "bursts5"}

    video = tmp_path / "video.mp4"
    write_video(video, np.zeros((40, 16, 24, 3), np.uint8), fps=8)
    checkpoint = run / "checkpoint/best.pth"
    assert re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "found", "--device", "cpu") == 0
    # As in a new process, which has not imported the classes.
    monkeypatch.setattr(Extensible, "_subclasses", {})
    refused = re2tal("predict", video, "--checkpoint", checkpoint, "--out", tmp_path / "other", "--device", "cpu")
    assert "not imported" in refused and "--config" in refused
    assert re2tal("report", run) == 0
    assert "burst" in (run / "report.html").read_text()


@pytest.mark.parametrize("own_backbone", [True, False], ids=["own backbone", "SlowFast"])
def test_a_checkpoint_gives_back_the_network_that_was_trained(
    re2tal: Any, options: list[str], tmp_path: Path, own_backbone: bool
) -> None:
    options = [option for option in options if own_backbone or option != BACKBONE]
    assert re2tal("train", CONFIG, "--cfg-options", *options, HEAD) == 0
    trained = load_trained(tmp_path / "exps/gpu1_id0/checkpoint/best.pth")
    assert trained.config == load_config(CONFIG, [*options, HEAD])
    assert type(trained.model.head).__name__ == "CentreHead" and trained.class_names == ("red", "green")


@pytest.mark.parametrize("parts", [[HEAD], [PYRAMID]], ids=["head", "pyramid"])
def test_a_step_is_planned_and_explained(re2tal: Any, bursts: Bursts, parts: list[str], options: list[str]) -> None:
    options = [option for option in options if not (parts == [PYRAMID] and "pyramid" in option)] + parts
    assert re2tal("plan", CONFIG, "--quick", "--json", "--cfg-options", *options) == 0
    assert re2tal("explain", CONFIG, "--cfg-options", *options) == 0
    levels = times_of(load_config(CONFIG, options)).levels
    assert [level.stride_steps for level in levels] == [1, 2, 4]
    assert sum(level.share or 0 for level in levels) == pytest.approx(1)


def test_levels_of_a_head_without_ranges_are_explained_by_their_strides(
    re2tal: Any, bursts: Bursts, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = bursts(HEAD).head
    monkeypatch.setattr(type(head), "regression_ranges", HeadSettings.regression_ranges)
    assert [level.reach_steps for level in times_of(bursts(HEAD)).levels] == [None] * 3
    assert re2tal("explain", CONFIG, "--cfg-options", *options, HEAD) == 0
    assert "stride in steps" in (out := capsys.readouterr().out) and "learns actions of" not in out


def test_the_head_learns_to_find_the_actions_of_a_batch(bursts: Bursts) -> None:
    torch.manual_seed(0)
    config = bursts(HEAD, "head.strides_per_action=6")
    clips = training_clips(config.data, config.augment, seed=0, annotations=annotations_of(config.data))
    batch = collate([clips[0], clips[1]])
    model = build_detector(config, num_classes=2).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model.loss(batch)["loss"]
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    for found, segments, labels in zip(model.eval()(batch), batch.segments, batch.labels, strict=True):
        for segment, label in zip(segments, labels, strict=True):
            best = found.scores[:, label].argmax()
            others = segments[labels == label]
            assert (found.segments[best] - others).abs().amax(1).min() < 4, (segment, found.segments[best])


def test_a_clip_without_actions_teaches_background_alone(bursts: Bursts) -> None:
    head = extension(f"{EXAMPLES}/head/centre_head.py:CentreHeadConfig").build(
        in_channels=4, num_classes=2, strides=(1, 2)
    )
    predictions = head([torch.randn(1, 4, 8), torch.randn(1, 4, 4)], [torch.ones(1, 8) > 0, torch.ones(1, 4) > 0])
    losses = head.losses(predictions, segments=[torch.zeros(0, 2)], labels=[torch.zeros(0, dtype=torch.int64)])
    assert losses["length_loss"] == 0 and losses["heat_loss"] > 0


def test_the_head_learns_nothing_where_nobody_has_looked() -> None:
    head = extension(f"{EXAMPLES}/head/centre_head.py:CentreHeadConfig", strides_per_action=3).build(
        in_channels=4, num_classes=2, strides=(1, 2)
    )
    masks = [torch.ones(1, 8) > 0, torch.ones(1, 4) > 0]
    predictions = head([torch.randn(1, 4, 8), torch.randn(1, 4, 4)], masks)
    predictions.heat.retain_grad()
    predictions.sizes.retain_grad()
    labelled = [torch.arange(8)[None] < 4, torch.arange(4)[None] < 2]
    action = {"segments": [torch.tensor([[1.0, 4.0]])], "labels": [torch.tensor([1])]}
    losses = head.losses(predictions, **action, labelled=labelled)
    losses["loss"].backward()
    outside = ~torch.cat(labelled, dim=1)
    assert losses["length_loss"] > 0
    assert not predictions.heat.grad[outside].any() and not predictions.sizes.grad[outside].any()
    assert predictions.heat.grad[~outside].all() and predictions.sizes.grad[~outside].any()


def test_clips_of_ones_own_are_not_asked_for_negatives(bursts: Bursts) -> None:
    config = bursts("data.negative_share=0.5")
    with pytest.raises(ValueError, match="BurstsConfig gives its own; set it to 0"):
        training_clips(config.data, config.augment, seed=1, annotations=annotations_of(config.data))


def test_clips_of_ones_own_follow_the_epoch_and_the_seed(bursts: Bursts) -> None:
    config = bursts()
    clips = training_clips(config.data, config.augment, seed=1, annotations=annotations_of(config.data))
    again = training_clips(config.data, config.augment, seed=1, annotations=annotations_of(config.data))
    assert torch.equal(clips[0].inputs, again[0].inputs)
    clips.set_epoch(1)
    assert not torch.equal(clips[0].inputs, again[0].inputs)


def test_a_listing_is_as_good_as_an_annotation_file(re2tal: Any, tmp_path: Path) -> None:
    tiny = make_tiny_experiment(tmp_path)
    database = json.loads((tmp_path / "annotations.json").read_text())["database"]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video", "subset", "start", "end", "label"])
        for video_id, entry in database.items():
            for row in entry["annotations"]:
                rows.writerow([video_id, entry["subset"], *row["segment"], row["label"]])
    settings = load_config(tiny).data.model_dump(mode="json")
    shared = {name: value for name, value in settings.items() if name not in ("annotations", "subset_file", "videos")}
    del shared["video_pattern"], shared["kind"]
    listing = {**shared, "source": f"{EXAMPLES}/data/csv_listing.py:CsvListingConfig"}
    listing |= {"table": str(tmp_path / "table.csv"), "videos": str(tmp_path / "videos")}
    results = []
    for run_id, more in enumerate([[], [f"data={listing}"]]):
        assert re2tal("train", tiny, "--id", run_id, "--cfg-options", *more) == 0
        assert re2tal("test", tiny, "--id", run_id, "--cfg-options", *more) == 0
        results.append(json.loads((tmp_path / f"exps/gpu1_id{run_id}/metrics.json").read_text()))
    assert results[0] == results[1]
    assert re2tal("check-data", tiny, "--cfg-options", f"data={listing}") == 0


def test_clips_that_are_in_no_file_pass_the_check(re2tal: Any, options: list[str]) -> None:
    assert re2tal("check-data", CONFIG, "--cfg-options", *options) == 0


def test_light_fades_evenly() -> None:
    fading = extension(f"{EXAMPLES}/augmentation/fading.py:FadingConfig", strength=0.5)
    frames = [torch.full((3, 12, 12), 100, dtype=torch.uint8)] * 5
    clip = fading.apply(iter(frames), rng=np.random.default_rng(3), size=(8, 8), num_frames=5)
    light = clip.float().mean((0, 2, 3))
    assert clip.shape == (3, 5, 8, 8) and light.min() >= 50 and light.max() <= 150
    assert (light.diff().sign() == light.diff()[0].sign()).all()
    assert light.diff().diff().abs().max() <= 2


def test_an_augmentation_of_ones_own_makes_the_training_clips(bursts: Bursts) -> None:
    config = bursts(f"augment={EXAMPLES}/augmentation/fading.py:FadingConfig")
    clips = training_clips(config.data, config.augment, seed=0, annotations=annotations_of(config.data))
    assert clips[0].inputs.shape == (3, 32, 16, 16)


def test_an_operation_is_added_to_the_published_ones() -> None:
    blur = extension(f"{EXAMPLES}/augmentation/fading.py:BlurConfig")
    published, more = RandAugmentConfig(), RandAugmentConfig(more_operations=(blur,))
    assert more.operations == published.operations
    config = RandAugmentConfig(num_operations=16, more_operations=(blur,))
    assert len(draw_operations(np.random.default_rng(0), config, size=(8, 8))) == 16
    alone = AugmentConfig(
        crop=None,
        flip_probability=0,
        rand_augment=RandAugmentConfig(num_operations=1, operations=(), more_operations=(blur,)),
    ).model_copy(update={"jitter": AugmentConfig().jitter.model_copy(update=dict.fromkeys(NO_JITTER, 0.0))})
    frames = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    frames[:, 4, 4] = 90
    blurred = augment(frames, rng=np.random.default_rng(0), config=alone, size=(8, 8))
    assert blurred[:, :, 3:6, 3:6].eq(10).all() and blurred.sum() == 3 * 2 * 9 * 10


NO_JITTER = ("brightness", "contrast", "saturation", "hue")


def test_label_tracks_are_recognised_beside_other_formats(re2tal: Any, tmp_path: Path) -> None:
    videos, labels, out = tmp_path / "videos", tmp_path / "labels", tmp_path / "annotations.json"
    videos.mkdir()
    labels.mkdir()
    for name in ("day1", "day2"):
        write_video(videos / f"{name}.mp4", np.zeros((40, 16, 16, 3), np.uint8), fps=8)
    (labels / "day1.txt").write_text("0:01 jump\n0:02 run away\n0:04 the end\n")
    (labels / "other.csv").write_text("video,start,end,label\nday2,1,2,jump\n")
    format_ = f"{EXAMPLES}/labels/chapter_labels.py:Chapters"
    assert re2tal("import", labels, "--videos", videos, "--out", out, "--format", format_) == 0
    database = json.loads(out.read_text())["database"]
    found = {
        name: [(*row["segment"], row["label"]) for row in entry["annotations"]] for name, entry in database.items()
    }
    assert found == {"day1": [(1.0, 2.0, "jump"), (2.0, 4.0, "run away")], "day2": [(1.0, 2.0, "jump")]}


@pytest.mark.parametrize("format_", ["cvs", "gone.py:Labels", f"{EXAMPLES}/labels/chapter_labels.py:LINE"])
def test_what_is_no_format_is_refused(re2tal: Any, tmp_path: Path, format_: str) -> None:
    (tmp_path / "a.csv").write_text("video,start,end,label\nday2,1,2,jump\n")
    assert re2tal("import", tmp_path / "a.csv", "--videos", tmp_path, "--format", format_) == 2


def test_scores_of_a_table_label_as_those_of_a_submission(tmp_path: Path) -> None:
    scores = {"a": {"jump": 0.7, "run": 0.2, "sit": 0.1}, "b": {"run": 0.9}}
    results = {name: [{"label": k, "score": s} for k, s in of.items()] for name, of in scores.items()}
    (tmp_path / "scores.json").write_text(json.dumps({"results": results}))
    rows = [f"{name},{label},{score}" for name, of in scores.items() for label, score in of.items()]
    (tmp_path / "scores.csv").write_text("\n".join(["video,label,score", *rows]))
    own = extension(f"{EXAMPLES}/scores/csv_scores.py:CsvScoresConfig", path=tmp_path / "scores.csv", top=2).read()
    submission = SubmissionConfig(path=tmp_path / "scores.json", top=2).read()
    assert (own.class_names, own.best) == (submission.class_names, submission.best)
    found = Detections(
        video_id="a", segments=torch.tensor([[0.0, 1.0]]), scores=torch.tensor([0.5]), labels=torch.tensor([0])
    )
    assert torch.equal(own.label(found).scores, torch.tensor([0.35, 0.1]))


def test_scores_of_ones_own_are_a_setting(bursts: Bursts, tmp_path: Path) -> None:
    source = f"{EXAMPLES}/scores/csv_scores.py:CsvScoresConfig"
    labels = f"postprocess.video_labels={{'source':'{source}','path':'{tmp_path / 'scores.csv'}'}}"
    config = bursts(
        "data.class_agnostic=True", labels, "postprocess.video_labels.top=1", "postprocess.nms.per_class=True"
    )
    assert config.postprocess.video_labels == extension(source, path=tmp_path / "scores.csv", top=1)


def test_a_backbone_of_ones_own_starts_from_weights_of_its_own(re2tal: Any, options: list[str], tmp_path: Path) -> None:
    assert re2tal("train", CONFIG, "--cfg-options", *options) == 0
    best = tmp_path / "exps/gpu1_id0/checkpoint/best.pth"
    more = f"backbone.pretrained={best}"
    assert re2tal("train", CONFIG, "--id", 1, "--cfg-options", *options, more) == 0
    assert "backbone from" in (tmp_path / "exps/gpu1_id1/log.txt").read_text()
