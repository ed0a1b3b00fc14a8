"""The settings of a run as a Python file with the reasons beside them."""

from pathlib import Path
from textwrap import fill

from re2tal.common.atomic import atomic_text
from re2tal.labels.choices import MOST_NEGATIVES, STEPS_IN_SHORT_ACTIONS, Choices
from re2tal.labels.measure import DataSet, Measures

__all__ = ["config_text", "write_config"]

_WIDTH = 110

_IMPORTS = """
from pathlib import Path

from re2tal.networks.backbones import {backbones}
from re2tal.config import ExperimentConfig
from re2tal.data import DataConfig, {sampling}
from re2tal.detections import NmsConfig, PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.video import AugmentConfig, CropConfig, JitterConfig, RandAugmentConfig

HERE = Path(__file__).resolve().parent
"""


def config_text(
    data: DataSet, measures: Measures, choices: Choices, *, name: str, folder: Path, pretrained: Path | None
) -> str:
    """The whole file.

    Args:
        data: annotations and videos.
        measures: what the settings were chosen from.
        choices: the settings.
        name: of the experiment.
        folder: that the file will lie in.
        pretrained: weights that the large backbone starts from.
    """
    imports = _IMPORTS.format(
        backbones="SwinConfig" if choices.size == "large" else "PathwayConfig, SlowFastConfig",
        sampling="ResizeSampling" if choices.whole_video else "WindowSampling",
    )
    parts = [
        _introduction(measures, name=name),
        imports,
        _backbone(choices, pretrained=pretrained),
        _sampling(measures, choices),
        _levels(measures, choices),
        _pictures(measures, choices),
        _schedule(measures, choices, pretrained=pretrained is not None),
        _experiment(data, choices, name=name, folder=folder),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def write_config(text: str, path: Path) -> None:
    """Whole or not at all."""
    with atomic_text(path) as file:
        file.write(text)


def _comment(*paragraphs: str) -> str:
    """Lines of comments, broken between words."""
    return "\n".join(
        fill(paragraph, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
        for paragraph in paragraphs
        if paragraph
    )


def _introduction(measures: Measures, *, name: str) -> str:
    names = measures.class_names
    classes = f"{len(names)} classes" if len(names) > 1 else "1 class"
    text = (
        f"Written by re2tal init for {measures.num_train} training videos with {measures.num_actions} actions of "
        f"{classes}, and {measures.num_test} videos to test on. Change what you like; re2tal show prints every setting."
    )
    lengths = (
        f"The actions last {_s(measures.median)} (median), one in ten less than {_s(measures.short)}, one in twenty "
        f"more than {_s(measures.long)}, at most {_s(measures.longest)}; the videos last {_s(measures.video_median)} "
        f"(median), at most {_s(measures.video_longest)}, at {measures.fps:.4g} frames per second."
    )
    paragraphs = "\n\n".join(fill(paragraph, _WIDTH) for paragraph in (text, lengths, f"{measures.time.in_words()}."))
    return f'"""{_quoted(name)}: temporal action localization.\n\n{paragraphs}\n"""'


def _backbone(choices: Choices, *, pretrained: Path | None) -> str:
    if choices.size == "large":
        told = (
            "Without pretrained weights it will learn little from few videos: see docs/reproduce.md for files to start "
            "from, and set pretrained=Path(...), or write a config with --size medium."
            if pretrained is None
            else "It starts from pretrained weights, so its norm layers stay as they are."
        )
        text = f"The network that looks at the pictures: Video Swin-T, rewired to be reversible. {told}"
        path = "None" if pretrained is None else f"Path({pretrained.as_posix()!r})"
        code = _call("SwinConfig", drop_path=0.2, reversible=True, freeze_norms=pretrained is not None, pretrained=path)
        return f"{_comment(text)}\nbackbone = {code}"
    is_small = choices.size == "small"
    width, stages = (16, (2, 2, 2)) if is_small else (32, (3, 4, 6))
    temporal = "temporal_stages=(True, True, True)"
    code = _call(
        "SlowFastConfig",
        blocks=stages,
        slow=f"PathwayConfig(base_channels={width}, stem_kernel=(1, 5, 5), {temporal})",
        fast=f"PathwayConfig(base_channels={width // 4}, stem_kernel=(3, 5, 5), {temporal})",
        frame_ratio=2,
        fusion_kernel=5,
        reversible=True,
        freeze_norms=False,
    )
    text = (
        f"The network that looks at the pictures: a {choices.size} SlowFast, rewired to be reversible, that learns "
        "from fresh weights. Its slow pathway sees every second frame."
    )
    return f"{_comment(text)}\nbackbone = {code}"


def _sampling(measures: Measures, choices: Choices) -> str:
    if choices.whole_video:
        text = (
            f"What the network sees at once: a whole video, since long actions ({_s(measures.long)}) cover much of the "
            f"videos ({_s(measures.video_long)}). It is resized in time to {choices.num_steps} steps of "
            f"{choices.frames_per_step} frames each; in the median video a step lasts {_s(choices.seconds_per_step)}. "
            f"{_step_reason(measures, choices)}"
        )
        code = _call("ResizeSampling", num_steps=choices.num_steps, frames_per_step=choices.frames_per_step)
        return f"{_comment(text)}\nsampling = {code}"
    taken = (
        "every frame is looked at"
        if choices.frame_stride == 1
        else f"of {choices.frame_stride} frames one is looked at"
    )
    step = (
        f"Time is cut into steps of {_s(choices.seconds_per_step)} ({choices.frames_per_step * choices.frame_stride} "
        f"frames of the file; {taken}, {measures.fps / choices.frame_stride:.3g} per second). "
        f"{_step_reason(measures, choices)}"
    )
    window = (
        f"A window of {choices.num_steps} steps, {_s(choices.window_seconds)}, is what the network sees at once. The "
        f"longest actions should fit in: one in twenty lasts more than {_s(measures.long)}"
        + (
            "."
            if choices.window_seconds >= 1.5 * measures.long
            else ", which fits only just; a larger --size has longer windows."
        )
    )
    overlap = (
        f"In testing, windows overlap by {choices.test_overlap:.0%}, so that every action of up to "
        f"{_s(choices.test_overlap * choices.window_seconds)} lies whole in one of them."
    )
    code = _call(
        "WindowSampling",
        num_steps=choices.num_steps,
        frames_per_step=choices.frames_per_step,
        frame_stride=choices.frame_stride,
        test_overlap=choices.test_overlap,
    )
    rates = measures.fps_range
    uneven = (
        f"The videos have {rates[0]:.4g} to {rates[1]:.4g} frames per second. Strides count frames, so the network "
        "sees slow and fast ones at different speeds; convert them to one rate if that matters."
        if rates[1] > 1.1 * rates[0]
        else ""
    )
    return f"{_comment(step, window, overlap, uneven)}\nsampling = {code}"


def _step_reason(measures: Measures, choices: Choices) -> str:
    covered = measures.short / choices.seconds_per_step
    if covered >= STEPS_IN_SHORT_ACTIONS / 2:
        return f"A short action of {_s(measures.short)} then covers {covered:.1f} steps, enough to find its ends."
    return (
        f"A short action of {_s(measures.short)} then covers only {covered:.1f} steps, so its ends will be found "
        "roughly: the longest actions need the room. A larger --size has shorter steps."
    )


def _levels(measures: Measures, choices: Choices) -> str:
    bounds = [choices.reach_seconds(level) for level in range(choices.levels - 1)]
    listed = ", ".join(f"up to {_s(bound)}" for bound in bounds)
    levels = (
        f"The pyramid has {choices.levels} levels, with a point every 1, 2, 4 ... steps, each for actions of its own "
        f"lengths. What counts is how far the farther end of an action lies from the point: {listed} for the first "
        f"{'level' if len(bounds) == 1 else f'{len(bounds)} levels'}, anything longer for the last. Three actions in "
        f"four last less than {_s(measures.upper)} and belong to the first level, where most points see them."
        if choices.first_reach * choices.seconds_per_step >= measures.upper / 2
        else f"The pyramid has {choices.levels} levels, with a point every 1, 2, 4 ... steps, each for actions of its "
        f"own lengths. What counts is how far the farther end of an action lies from the point: {listed}, anything "
        "longer for the last."
    )
    radius = (
        f"Points within {choices.center_radius:g} steps of their level from the middle of an action learn to predict "
        f"it: {_s(choices.center_radius * choices.seconds_per_step)} to either side on the first level."
    )
    channels = {"small": 96, "medium": 256, "large": 512}[choices.size]
    stem = 1 if choices.size == "small" else 2
    pyramid = _call(
        "PyramidConfig",
        channels=channels,
        num_heads=4,
        arch=(2, stem, choices.levels - 1),
        max_steps=choices.num_steps,
        position_code=choices.whole_video,
    )
    head = _call(
        "HeadConfig",
        first_reach=float(choices.first_reach),
        center_radius=choices.center_radius,
        initial_normalizer=max(choices.points_per_batch, 1.0),
    )
    normalizer = "The normalizer begins at about the number of points of a batch that learn to predict an action."
    return f"{_comment(levels)}\npyramid = {pyramid}\n{_comment(radius, normalizer)}\nhead = {head}"


def _pictures(measures: Measures, choices: Choices) -> str:
    height, width = choices.crop_size
    size = (
        f"Frames are shown to the network at {width} x {height} pixels (width x height), of the shape of the videos. "
        "Raise both sides if what matters is small in the picture; memory and time grow with their product."
    )
    mirrored = (
        "Clips are not mirrored in training: the names of the classes tell left from right."
        if measures.has_sides
        else "Half of the training clips are mirrored; set flip_probability=0.0 if left and right make a difference."
    )
    flip = 0.0 if measures.has_sides else 0.5
    if choices.size == "large":
        return f"{_comment(size, mirrored)}\naugment = {_call('AugmentConfig', flip_probability=flip)}"
    aspect = width / height
    code = _call(
        "AugmentConfig",
        crop=f"CropConfig(area=(0.35, 1.0), aspect=({aspect / 1.2:.2f}, {aspect * 1.2:.2f}))",
        flip_probability=flip,
        rand_augment="RandAugmentConfig(num_operations=0)",
        jitter="JitterConfig(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0)",
    )
    return f"{_comment(size, mirrored)}\naugment = {code}"


def _schedule(measures: Measures, choices: Choices, *, pretrained: bool) -> str:
    negatives = round(measures.num_train * choices.negative_share / (1 - choices.negative_share))
    steps = choices.epochs * ((measures.num_train + negatives) // choices.batch_size)
    shown = f" with actions, and {negatives} clips without" if negatives else ""
    text = (
        f"An epoch shows one clip of each of the {measures.num_train} training videos{shown}; {choices.epochs} epochs "
        f"in batches of {choices.batch_size} are {steps} steps. The weights that are tested are an average over "
        "the latest steps."
    )
    warning = (
        "best.pth is the epoch with the highest mAP on the test videos; quote figures of the last epoch, or of videos "
        "that had no part in it."
    )
    head, backbone = (1e-4, 1e-5) if pretrained else ((1e-3, 4e-4) if choices.size == "large" else (2e-3, 2e-3))
    evaluations = max(choices.epochs // 4, 1)
    code = _call(
        "TrainingConfig",
        epochs=choices.epochs,
        batch_size=choices.batch_size,
        learning_rate=head,
        backbone_learning_rate=backbone,
        warmup_epochs=1.0,
        amp=repr("auto"),
        ema_decay=0.99 if steps < 5000 else 0.999,
        eval_from=max(evaluations - 1, 0),
        eval_every=evaluations,
        checkpoint_every=evaluations,
        keep_checkpoints=2,
        log_every=max(min(steps // 20, 50), 1),
        num_workers=0 if choices.cache_mib else 2,
    )
    return f"{_comment(text, warning)}\ntraining = {code}"


def _experiment(data: DataSet, choices: Choices, *, name: str, folder: Path) -> str:
    cache = (
        "Decoded frames stay in memory, so that a video is decoded once and not once per epoch."
        if choices.cache_mib
        else "Decoded frames are not kept in memory: they would fill it."
    )
    links = {"allow_links": True} if data.allow_links else {}
    points = {} if data.point_seconds is None else {"point_seconds": data.point_seconds}
    told = _points(data) if points else ""
    negatives = {"negative_share": choices.negative_share} if choices.negative_share else {}
    share = (
        f"{choices.negative_share:.0%} of the training clips show no action, as much as of the labelled time can be "
        f"shown so, at most {MOST_NEGATIVES:.0%}: what resembles an action there is learnt not to be one."
        if negatives
        else ""
    )
    described = _call(
        "DataConfig",
        annotations=_path(data.annotations.path, folder),
        videos=_path(data.videos, folder),
        video_pattern=repr(data.video_pattern),
        **links,
        **points,
        **negatives,
        train_subset=repr(data.train_subset),
        test_subset=repr(data.test_subset),
        sampling="sampling",
        short_side_train=choices.short_side_train,
        short_side_test=min(choices.crop_size),
        crop_size=choices.crop_size,
        cache_mib=choices.cache_mib,
    )
    point_events = f"point_seconds={data.point_seconds}, " if data.only_points else ""
    config = _call(
        "ExperimentConfig",
        name=repr(name),
        work_dir='HERE / "exps"',
        **{part: part for part in ("backbone", "pyramid", "head", "data", "augment")},
        postprocess=f"PostprocessConfig({point_events}nms=NmsConfig(sigma=0.5, max_segments={choices.max_segments}))",
        training="training",
    )
    return f"{_comment(cache, share, told)}\ndata = {described}\n\nconfig = {config}"


def _points(data: DataSet) -> str:
    """What is done with point events."""
    trained = f"Point events are trained on as segments of {_s(data.point_seconds or 0)} around them"
    if not data.only_points:
        return f"{trained}, and found as such."
    return (
        f"{trained}. What is found is a point, the middle of a segment, and weakens others of its class nearer "
        "than that; it is measured at tolerances in time (evaluation.tolerances)."
    )


def _call(kind: str, /, **arguments: object) -> str:
    """`kind(...)` with one argument a line; texts are code already."""
    lines = "".join(f"    {key}={value},\n" for key, value in arguments.items())
    return f"{kind}(\n{lines})"


def _path(path: Path, folder: Path) -> str:
    """Below the config's folder as seen from there, so that both can be moved; else absolute."""
    path, folder = path.resolve(), folder.resolve()
    if path.is_relative_to(folder):
        return f"HERE / {path.relative_to(folder).as_posix()!r}"
    return f"Path({path.as_posix()!r})"


def _quoted(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")


def _s(seconds: float) -> str:
    """`0.16 s`, `12.3 s`, `2:05 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"
