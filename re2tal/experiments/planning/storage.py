"""`backbone.reversible="auto"`: which activations are stored, so that a training step is the fastest that fits."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.memory_size import MIB, format_memory, parse_memory
from re2tal.config import ExperimentConfig
from re2tal.config.building import build_detector, count_classes
from re2tal.experiments.planning.memory import available_memory
from re2tal.experiments.planning.plan import Estimates, clips_of_a_process
from re2tal.experiments.planning.tracker import MemoryTracker
from re2tal.reversible import set_storage, set_tiles, spend_memory
from re2tal.reversible.spending import leaving_no_trace
from re2tal.reversible.tiles import most_bytes
from re2tal.training.precision import autocast

__all__ = ["StoragePlan", "plan_storage", "resumed_or_planned"]

_MOST_PIXELS = {"cpu": 2**19, "cuda": 2**24}
"""Of the clips that are tried, over all frames: a second or two of Swin-T on two cores."""
_SHARE_OF_FREE = {"cpu": 0.8, "cuda": 0.9}
"""What of a device's free memory is spent, if nothing else is said: others want some, and plans are a little off."""
_MORE_THAN_TENSORS = 1.1
"""What it takes to store a byte of activations: holes and buffers of kernels, as in plain training."""
_FEWEST_FRAMES = 8
"""Of which a slow pathway sees one."""
_SMALLEST_TILE = MIB
_CLASSES_IF_UNKNOWN = 20


@dataclass(frozen=True, kw_only=True)
class StoragePlan:
    """What a training stores, and why."""

    storage: dict[str, tuple[int, int]]
    """As `re2tal.reversible.storage` gives it, by the names in the backbone."""
    tile_bytes: int | None
    """Of tiles, where those that suit the device would not fit."""
    clips: tuple[int, int, int, int]
    """Clips at a time, frames, height and width that it is for."""
    memory: int
    """That a process may take."""
    least: int
    """That a step takes which stores nothing."""
    stored: int
    """That what is stored takes."""
    everything: int
    """That everything would take."""
    seconds: tuple[float, float]
    """Of a step on a short clip that stores nothing, and as planned."""

    @property
    def total(self) -> int:
        """What a step takes at its fullest, in bytes."""
        return self.least + self.stored

    def apply(self, backbone: nn.Module) -> None:
        """Have a backbone store that from now on."""
        set_storage(backbone, self.storage)
        if self.tile_bytes is not None:
            set_tiles(backbone, self.tile_bytes)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {**asdict(self), "storage": {name: list(choice) for name, choice in self.storage.items()}}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "StoragePlan":
        """What `as_json` gave."""
        pairs = {name: (int(choice[0]), int(choice[1])) for name, choice in values["storage"].items()}
        return StoragePlan(
            **{**values, "storage": pairs, "clips": tuple(values["clips"]), "seconds": tuple(values["seconds"])}
        )

    def __str__(self) -> str:
        activations, inputs = (sum(choice[place] for choice in self.storage.values()) for place in (0, 1))
        what = f"the activations of {activations} branches and stems and the inputs of {inputs}"
        if self.stored == self.everything:
            what = "all activations"
        told = f"{what} are stored, {format_memory(self.stored)} of {format_memory(self.everything)}"
        if not self.stored:
            told = "nothing is stored, and all of it computed again"
        if self.tile_bytes is not None:
            told += f"; tiles are of {format_memory(self.tile_bytes)}, to fit at all, and round like no others"
        if self.total > self.memory:
            told += "; it will not fit"
        reversible_s, planned_s = self.seconds
        if self.stored:
            told += f"; a step on a short clip took {planned_s:.2f} s, and {reversible_s:.2f} s with nothing stored"
        return f"{told}; a step takes {format_memory(self.total)} of {format_memory(self.memory)}"


def plan_storage(
    config: ExperimentConfig,
    *,
    device: torch.device,
    backbone: nn.Module | None = None,
    memory: int | None = None,
    processes: int = 1,
) -> StoragePlan:
    """Try steps on short clips of random pixels, for seconds, and choose what to store on long ones.

    Tiles are what suits the device, and smaller only where a step that stores nothing would not fit: a network that is
    computed in other tiles rounds otherwise, while what is stored makes no difference to any bit.

    Args:
        config: with a rewired backbone.
        device: that is trained on.
        backbone: of it, there; put back as it was. None: one with fresh weights is built.
        memory: that a process may take; None: `training.memory`, or what is free.
        processes: that share a batch, and on a processor its memory.
    """
    if memory is None:
        memory = _memory(config, device=device, processes=processes)
    if backbone is None:
        backbone = build_detector(config, num_classes=count_classes(config.data) or _CLASSES_IF_UNKNOWN).backbone
        backbone = backbone.to(device if device.type != "cuda" or torch.cuda.is_available() else "cpu")
    clips = _clips(config, processes)
    trial = _Trial(config, backbone, clips)
    known = "reversible" in config.backbone.strategies
    least, tile_bytes = (
        _least(config, memory, device=device, processes=processes)
        if known
        else (trial.least(Estimates(config, device=device, processes=processes)), None)
    )
    with leaving_no_trace(backbone):
        if tile_bytes is not None:
            set_tiles(backbone, tile_bytes)
        budget = max(int((memory - least) / _MORE_THAN_TENSORS), 0)
        found = spend_memory(backbone, trial.loss, budget=budget, scale=trial.scale)
        if tile_bytes is not None:
            set_tiles(backbone, "auto")
    return StoragePlan(
        storage=found.storage,
        tile_bytes=tile_bytes,
        clips=clips,
        memory=memory,
        least=least,
        stored=round(_MORE_THAN_TENSORS * found.stored_bytes),
        everything=round(_MORE_THAN_TENSORS * found.most_bytes),
        seconds=found.seconds,
    )


def resumed_or_planned(
    config: ExperimentConfig, told: object, *, device: torch.device, backbone: nn.Module, processes: int
) -> StoragePlan:
    """What a checkpoint tells of a plan, if it is one for these clips and there still is so much memory; or a new one.

    The plan is applied to `backbone`.
    """
    if told is not None:
        try:
            plan = StoragePlan.from_json(told)  # type: ignore[arg-type]
            memory = _memory(config, device=device, processes=processes)
            if plan.clips == _clips(config, processes) and plan.total <= max(memory, plan.least):
                plan.apply(backbone)
                return plan
        except (TypeError, KeyError, ValueError, IndexError):
            pass  # of another network or version
    plan = plan_storage(config, device=device, backbone=backbone, processes=processes)
    plan.apply(backbone)
    return plan


def _clips(config: ExperimentConfig, processes: int) -> tuple[int, int, int, int]:
    """(clips at a time, frames, height, width) in a process."""
    sampling = config.data.sampling
    return clips_of_a_process(config, processes), sampling.num_steps * sampling.frames_per_step, *config.data.crop_size


def _memory(config: ExperimentConfig, *, device: torch.device, processes: int) -> int:
    """What a process may take by the config, or of what is free now."""
    if config.training.memory is not None:
        return parse_memory(config.training.memory)
    free = int(_SHARE_OF_FREE[device.type] * available_memory(device))
    if device.type != "cpu":
        return free
    batch = clips_of_a_process(config, processes) * config.data.clip_bytes(channels=config.backbone.out_channels)
    waiting = min(2 * config.training.num_workers * batch, config.training.prefetch_mib * MIB)
    return free // processes - waiting


def _least(config: ExperimentConfig, memory: int, *, device: torch.device, processes: int) -> tuple[int, int | None]:
    """What a step takes that stores nothing, in tiles that fit, and the size of these if it is not the usual one."""
    num_clips = clips_of_a_process(config, processes)

    def total(config: ExperimentConfig) -> int:
        return Estimates(config, device=device, processes=processes).of("reversible", num_clips=num_clips).total

    found = total(config)
    if found <= memory or config.backbone.tile_mib != "auto":
        return found, None
    usual = 16 * MIB if device.type == "cuda" and not torch.cuda.is_available() else most_bytes("auto", device)
    smaller = (usual or _SMALLEST_TILE) // 4
    while smaller >= _SMALLEST_TILE:
        backbone = config.backbone.model_copy(update={"tile_mib": smaller / MIB})
        in_smaller = total(config.model_copy(update={"backbone": backbone}))
        if in_smaller <= memory:
            return in_smaller, smaller
        smaller //= 4
    return found, None


class _Trial:
    """Steps of a backbone on clips that are short enough for a step to take about a second.

    Args:
        config: of the experiment.
        backbone: that is tried.
        clips: (clips, frames, height, width) of the training.
    """

    def __init__(self, config: ExperimentConfig, backbone: nn.Module, clips: tuple[int, int, int, int]) -> None:
        self._config, self._backbone, self._clips = config, backbone, clips[0]
        self._device = next(backbone.parameters()).device
        number, frames, height, width = clips
        limit = _MOST_PIXELS.get(self._device.type, _MOST_PIXELS["cpu"])
        shorter = [n for n in range(_FEWEST_FRAMES, frames) if frames % n == 0 and self._takes(n)]
        while number * frames * height * width > limit and (number > 1 or shorter):
            if number > 1:
                number -= 1
            else:
                frames = shorter.pop()
        self._shape = (number, 3, frames, height, width)
        self.scale = clips[0] * clips[1] / (number * frames)
        """Of the training's clips, by those that are tried."""
        self._frames = torch.randint(
            0, 256, self._shape, dtype=torch.uint8, device=self._device, generator=torch.Generator(self._device)
        )

    def _takes(self, frames: int) -> bool:
        try:
            self._config.backbone.require_whole_chunks(frames)
            self._config.backbone.require_clips(num_frames=frames, crop_size=self._config.data.crop_size)
        except ValueError:
            return False
        return True

    def loss(self) -> Tensor:
        """Of the features, a scalar."""
        with autocast(self._config.training.amp, device=self._device):
            features: Tensor = self._backbone(self._frames, self._frames.shape[2])
        return features.float().square().mean()

    def _step(self) -> None:
        learning = [parameter for parameter in self._backbone.parameters() if parameter.requires_grad]
        torch.autograd.grad(self.loss(), learning, allow_unused=True)

    def least(self, estimates: Estimates) -> int:
        """What a whole training step takes that stores nothing, of a network that cannot be run dry as rewired.

        What a step of the backbone allocates is measured on the short clips, the rest is that of the plain network.
        """
        plain = estimates.of("plain", num_clips=self._clips)
        rest = sum(size for part, size in plain.parts.items() if part not in ("activations", "tile", "kernels"))
        with leaving_no_trace(self._backbone):
            measured = _most_allocated(self._step, self._device)
        return rest + round(_MORE_THAN_TENSORS * self.scale * measured)


def _most_allocated(step: Callable[[], None], device: torch.device) -> int:
    """Bytes of tensors at the fullest moment of a step, beside what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with MemoryTracker(has_values=True) as tracker:
        step()
    return sum(tracker.peak().values())
