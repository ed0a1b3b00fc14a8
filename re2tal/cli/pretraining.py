"""The command that trains a backbone on frames without labels."""

from re2tal.cli.app import ConfigPath, Device, Options, app, tell_results
from re2tal.cli.runs import NotDeterministic, Resume, RunId, Seed, run_of, with_seed


@app.command
def pretrain(
    config: ConfigPath,
    *,
    epochs: int = 100,
    mask_ratio: float = 0.9,
    decoder_depth: int = 4,
    learning_rate: float = 1e-3,
    batch_size: int | None = None,
    seed: Seed = None,
    run_id: RunId = 0,
    resume: Resume = None,
    disable_deterministic: NotDeterministic = False,
    device: Device = None,
    cfg_options: Options = None,
) -> None:
    """Train a detector's VideoMAE on the frames of its training videos, without labels; alone or under torchrun.

    It is shown few tokens of every sub-clip and completes the others (tube masking). Writes
    <work_dir>/pretraining/gpu<processes>_id<id>/backbone.safetensors, for backbone.pretrained.

    Parameters
    ----------
    epochs
        Passes over the training videos, also those without labels; one clip of each.
    mask_ratio
        Share of the tokens of every time that is hidden.
    decoder_depth
        Blocks of the decoder, which is thrown away afterwards.
    learning_rate
        At the end of the warm-up, which takes a tenth of the epochs; it then falls to 0.
    batch_size
        Clips of a step; by default training.batch_size.
    """
    from re2tal.config import load_config
    from re2tal.experiments.pretraining import TubeMasking
    from re2tal.experiments.pretraining import pretrain as run_pretraining

    masking = TubeMasking(
        epochs=epochs,
        mask_ratio=mask_ratio,
        decoder_depth=decoder_depth,
        learning_rate=learning_rate,
        batch_size=batch_size,
    )
    settings = load_config(config, with_seed(cfg_options, seed))
    settings = settings.model_copy(update={"work_dir": settings.work_dir / "pretraining"})
    with run_of(settings, run_id=run_id, device=device, resume=resume) as (processes, folder, console):
        weights = run_pretraining(
            settings,
            masking,
            processes=processes,
            folder=folder,
            resume=resume,
            deterministic=not disable_deterministic,
            console=console,
        )
        if processes.is_main:
            tell_results(weights, folder.path)
