"""The command that trains a backbone on trimmed clips."""

from re2tal.cli.app import ConfigPath, Device, Options, app, tell_results
from re2tal.cli.runs import NotDeterministic, Resume, RunId, Seed, run_of, with_seed


@app.command
def finetune(
    config: ConfigPath,
    *,
    seed: Seed = None,
    run_id: RunId = 0,
    resume: Resume = None,
    disable_deterministic: NotDeterministic = False,
    device: Device = None,
    cfg_options: Options = None,
) -> None:
    """Train a backbone to classify trimmed clips, for backbone.pretrained of a detector; alone or under torchrun."""
    from re2tal.config import load_settings
    from re2tal.experiments.finetuning import FinetuneConfig
    from re2tal.experiments.finetuning.finetune import finetune
    from re2tal.experiments.run_folders import held_alone

    settings = load_settings(config, with_seed(cfg_options, seed), kind=FinetuneConfig)
    with (
        run_of(settings, run_id=run_id, device=device, resume=resume) as (processes, folder, console),
        held_alone(folder, processes=processes),
    ):
        weights = finetune(
            settings,
            processes=processes,
            folder=folder,
            resume=resume,
            deterministic=not disable_deterministic,
            console=console,
        )
        if processes.is_main:
            tell_results(weights, folder.path)
