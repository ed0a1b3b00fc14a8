"""A detector of a few numbers and clips of a few pixels, for the loop's tests."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, Clip, PixelClip, TimeGrid
from re2tal.networks.detector import Detector
from re2tal.networks.heads import Head, HeadConfig
from re2tal.networks.pyramid import Pyramid, PyramidConfig
from re2tal.training import EpochLoader, GlobalBatches, Processes, RunFolder, Trainer, TrainingConfig
from re2tal.training.tensorboard import tensorboard_logger


class ToyBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1)
        self.norm = nn.LayerNorm(4)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, 4)."""
        return self.norm(self.conv(frames / 255).mean(dim=(2, 3, 4)))


class ToyDetector(nn.Module):
    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = ToyBackbone()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4, 1)
        self.register_buffer("seen", torch.tensor(0.0))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        wanted = torch.stack([labels.sum() for labels in batch.labels]).float()
        found = self.head(self.dropout(self.backbone(batch.frames)))[:, 0]
        loss = (found - wanted).square().mean()
        if self.training:
            self.seen += len(batch)
        return {"loss": loss}


class StepBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, (1, 2, 2))

    def forward(self, frames: Tensor, num_steps: int) -> Tensor:
        """(B, 3, S, 2, 2) -> (B, 8, S)."""
        return self.conv(frames / 255)[..., 0, 0]


def small_detector() -> nn.Module:
    """The real pyramid and head, whose losses are divided by a running mean over the batches."""
    pyramid = Pyramid(PyramidConfig(channels=8, num_heads=1, arch=(1, 1, 1), max_steps=2, drop_path=0.0), in_channels=8)
    head = Head(HeadConfig(initial_normalizer=5.0), in_channels=8, num_classes=3, strides=pyramid.strides)
    return Detector(StepBackbone(), pyramid=pyramid, head=head)


class ToyClips:
    """Clip i of an epoch depends on (epoch, i) alone."""

    def __init__(self, count: int = 10) -> None:
        self.count = count
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Clip:
        generator = torch.Generator().manual_seed(1000 * int(self.epoch) + index)
        return PixelClip(
            video_id=f"video{index}",
            frames=torch.randint(0, 256, (3, 2, 2, 2), dtype=torch.uint8, generator=generator),
            mask=torch.ones(2, dtype=torch.bool),
            grid=TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=2.0),
            segments=torch.tensor([[0.0, 1.0], [1.0, 2.0]])[: 1 + index % 2],
            labels=torch.tensor([index % 3, 1])[: 1 + index % 2],
        )


def toy_config(**changes: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 0.05,
        "backbone_learning_rate": 0.02,
        "warmup_epochs": 1,
        "ema_decay": 0.5,
        "num_workers": 0,
        "log_every": 1,
    }
    return TrainingConfig(**(settings | changes))


def toy_trainer(
    folder: Any,
    *,
    config: TrainingConfig,
    make: Callable[[], nn.Module] = ToyDetector,
    processes: Processes | None = None,
    clips: int = 10,
    names: Sequence[str] = ("run",),
) -> Trainer:
    torch.manual_seed(config.seed)
    processes = processes or Processes()
    batches = GlobalBatches(
        clips, batch_size=config.batch_size, accumulate=config.accumulate, seed=config.seed, processes=processes
    )
    return Trainer(
        make(),
        config=config,
        loader=EpochLoader(ToyClips(clips), batches=batches, collate=Batch.stack, num_workers=config.num_workers),
        processes=processes,
        folder=RunFolder(folder),
        about={"config": "{}", "class_names": list(names)},
        tensorboard=tensorboard_logger(config, folder=RunFolder(folder), processes=processes),
    )
