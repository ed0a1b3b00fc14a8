"""From a config to a backbone that has learned to classify trimmed clips: the weights that a detector starts from."""

from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from re2tal.config.building import count_parameters
from re2tal.data import collate
from re2tal.experiments.experiment import (
    broken_lister,
    describe_run,
    newest,
    note_config,
    prepare_process,
)
from re2tal.experiments.finetuning import (
    Classifier,
    ClipList,
    FinetuneConfig,
    TrimmedTestingSet,
    TrimmedTrainingSet,
    accuracy,
    list_clips,
)
from re2tal.experiments.loading import load_epochs
from re2tal.experiments.pretrained import start_from_pretrained, write_backbone
from re2tal.experiments.resumed import compare_with_resumed
from re2tal.networks.backbones import build_backbone
from re2tal.training import (
    LeaveSignalsToMain,
    LoaderProcesses,
    Processes,
    RunFolder,
    Trainer,
    autocast,
    load_checkpoint,
    log,
    seed_all,
    tensorboard_logger,
)
from re2tal.weights import BACKBONE_PREFIX

__all__ = ["ClipTester", "finetune"]


def finetune(
    config: FinetuneConfig,
    *,
    processes: Processes,
    folder: RunFolder,
    resume: Path | Literal["auto"] | None = None,
    deterministic: bool = True,
    console: Console | None = None,
) -> Path:
    """Train a classifier on trimmed clips.

    `folder` then holds checkpoints, `best.pth` (of the epoch with the highest top-1 accuracy), log and metrics.

    Returns:
        `backbone.safetensors` in it: the best epoch's averaged weights of the backbone alone, for
        `backbone.pretrained` of a detector. The classifier's last layer stays in `best.pth`.
    """
    prepare_process(config.training.seed, device=processes.device, deterministic=deterministic)
    train, test = (list_clips(source) for source in (config.data.train, config.data.test))
    class_names = train.class_names
    test.require_classes(class_names, source=config.data.test)
    clips = TrimmedTrainingSet(
        train.videos, config.data, config.augment, class_names=class_names, seed=config.training.seed
    )
    model = Classifier(build_backbone(config.backbone), num_classes=len(class_names), dropout=config.dropout)
    checkpoint = newest(folder, processes=processes) if resume == "auto" else resume
    if checkpoint is None:
        start_from_pretrained(model.backbone, config.backbone)
    else:
        compare_with_resumed(checkpoint, config, class_names=class_names)
    note_config(config, folder.config, processes=processes)
    trainer = Trainer(
        model.to(processes.device),
        config=config.training,
        loader=load_epochs(clips, config.training, processes=processes, clip_bytes=config.data.clip_bytes),
        processes=processes,
        folder=folder,
        about=describe_run(config, class_names),
        best_by="top1",
        tensorboard=tensorboard_logger(config.training, folder=folder, processes=processes),
    )
    _introduce(config, model=model, train=train, test=test, processes=processes)
    # The weights start alike in every process; dropout must not.
    seed_all(config.training.seed + processes.rank)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    tester = ClipTester(
        config, TrimmedTestingSet(test.videos, config.data, class_names=class_names), processes=processes
    )
    trainer.run(tester.evaluate, after_epoch=broken_lister(clips, processes=processes), console=console)
    weights = folder.path / "backbone.safetensors"
    if processes.is_main:
        _write_backbone(weights, folder.best, config=config)
    return weights


class ClipTester:
    """The test videos, shared by the processes."""

    def __init__(self, config: FinetuneConfig, clips: TrimmedTestingSet, *, processes: Processes) -> None:
        self.config, self.clips, self.processes = config, clips, processes
        training = config.training
        self._batch_size = max(training.batch_size // (processes.world_size * training.accumulate), 1)
        self._loaders = LoaderProcesses.within(
            training.prefetch_mib,
            wanted=training.num_workers,
            batch_bytes=self._batch_size * config.data.clip_bytes,
            purpose="testing",
        )

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Top-1 and top-5 accuracy of whole videos, whose clips' probabilities are averaged."""
        training, device = self.config.training, self.processes.device
        loader = DataLoader(
            self.clips,
            batch_size=self._batch_size,
            sampler=self.processes.share(len(self.clips)),
            collate_fn=collate,
            num_workers=self._loaders.count,
            prefetch_factor=self._loaders.prefetch_factor,
            generator=torch.Generator(),
            worker_init_fn=LeaveSignalsToMain() if self._loaders.count else None,
        )
        found = []
        for batch in loader:
            with autocast(training.amp, device=device):
                logits = model(batch.to(device))
            found += list(zip(logits.float().softmax(1).cpu(), torch.cat(batch.labels), strict=True))
        scores, labels = zip(*self.processes.gather(found), strict=True)
        count = self.config.data.test_clips
        of_videos = torch.stack(scores).unflatten(0, (-1, count)).mean(1)  # (videos, K)
        result = accuracy(of_videos, torch.stack(labels)[::count])
        log.info("top-1 %.2f %%  top-5 %.2f %%", 100 * result.top1, 100 * result.top5)
        return {"top1": result.top1, "top5": result.top5}


def _introduce(
    config: FinetuneConfig, *, model: nn.Module, train: ClipList, test: ClipList, processes: Processes
) -> None:
    log.info(
        "%s: %d training and %d test videos, %d classes; %.2f M parameters; %d process(es) on %s",
        config.name,
        len(train.videos),
        len(test.videos),
        len(train.class_names),
        count_parameters(model) / 1e6,
        processes.world_size,
        processes.device,
    )
    for name, listed in (("train", train), ("test", test)):
        if listed.passed_over and processes.is_main:
            log.warning("data.%s: %s; videos lie in a folder for each class", name, listed.passed_over)
        if listed.absent and processes.is_main:
            log.warning("data.%s: %d listed files are absent, such as %s", name, len(listed.absent), listed.absent[0])


def _write_backbone(path: Path, best: Path, *, config: FinetuneConfig) -> None:
    content = load_checkpoint(best)
    tensors = {
        name.removeprefix(BACKBONE_PREFIX): value
        for name, value in content["weights"].items()
        if name.startswith(BACKBONE_PREFIX)
    }
    accuracies = {name: f"{value:.4f}" for name, value in content["metrics"].items()}
    metadata = {"network": config.name, **accuracies}
    write_backbone(path, tensors, checkpoint=content, backbone=config.backbone, metadata=metadata)
