"""The command that trains a backbone on trimmed clips."""

from re2tal.cli.app import ConfigPath, Options, app
from re2tal.cli.runs import NotDeterministic, Resume, RunId, Seed, with_seed


@app.command
def finetune(
    config: ConfigPath,
    *,
    seed: Seed = None,
    run_id: RunId = 0,
    resume: Resume = None,
    disable_deterministic: NotDeterministic = False,
    cfg_options: Options = None,
) -> None:
    """Train a backbone to classify trimmed clips, for backbone.pretrained of a detector; alone or under torchrun."""
    from re2tal.config import load_settings
    from re2tal.experiments.experiment import find_run
    from re2tal.experiments.finetuning import FinetuneConfig
    from re2tal.experiments.finetuning.finetune import finetune
    from re2tal.training import distributed_processes, logging_to

    settings = load_settings(config, with_seed(cfg_options, seed), kind=FinetuneConfig)
    with distributed_processes() as processes:
        folder = find_run(settings, processes=processes, run_id=run_id)
        with logging_to(folder.log, is_main=processes.is_main) as console:
            finetune(
                settings,
                processes=processes,
                folder=folder,
                resume=resume,
                deterministic=not disable_deterministic,
                console=console if processes.is_main else None,
            )
