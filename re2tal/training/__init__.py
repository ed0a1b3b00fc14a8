"""Training a model that somebody else built, on clips that somebody else loads."""

from re2tal.training.anomalies import AnomalyHandler, TrainingError, load_anomaly
from re2tal.training.batches import EpochLoader, GlobalBatches
from re2tal.training.checkpoint import (
    CheckpointError,
    RunFolder,
    load_checkpoint,
    read_checkpoint,
    require_checkpoint,
    save_checkpoint,
)
from re2tal.training.config import TrainingConfig
from re2tal.training.disk import DiskFullError
from re2tal.training.distributed import LostProcessError, Processes, distributed_processes
from re2tal.training.ema import EMA
from re2tal.training.loop import Trainer
from re2tal.training.optimizer import build_optimizer, parameter_groups
from re2tal.training.precision import autocast, chosen_precision
from re2tal.training.prefetch import LoaderProcesses
from re2tal.training.progress import Progress, Records, counting, log, logging_to, tell_counts
from re2tal.training.random_state import seed_all
from re2tal.training.resuming import newest_good
from re2tal.training.schedule import WarmupCosine
from re2tal.training.stopping import LeaveSignalsToMain, Stopped
from re2tal.training.tensorboard import TensorBoardError, TensorBoardLogger, tensorboard_logger

__all__ = [
    "EMA",
    "TensorBoardLogger",
    "tensorboard_logger",
    "TensorBoardError",
    "CheckpointError",
    "DiskFullError",
    "EpochLoader",
    "AnomalyHandler",
    "GlobalBatches",
    "LeaveSignalsToMain",
    "LoaderProcesses",
    "LostProcessError",
    "Processes",
    "Progress",
    "Records",
    "RunFolder",
    "Stopped",
    "Trainer",
    "TrainingConfig",
    "TrainingError",
    "WarmupCosine",
    "autocast",
    "chosen_precision",
    "build_optimizer",
    "counting",
    "load_checkpoint",
    "load_anomaly",
    "log",
    "logging_to",
    "newest_good",
    "read_checkpoint",
    "require_checkpoint",
    "parameter_groups",
    "distributed_processes",
    "save_checkpoint",
    "seed_all",
    "tell_counts",
]
