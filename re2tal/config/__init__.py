"""What an experiment is: every setting, the published experiments, and reading them from files."""

from re2tal.config.experiment import (
    ConfigError,
    ExperimentConfig,
    load_config,
    load_settings,
    override,
    read_json_config,
)

__all__ = ["ConfigError", "ExperimentConfig", "load_config", "load_settings", "override", "read_json_config"]
