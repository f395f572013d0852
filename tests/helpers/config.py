"""Configs composed from the command line's words."""

from hydra import compose, initialize_config_dir

from tests.helpers.paths import CONF
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig


def resolve(*words: str) -> RunConfig:
    """The checked config of a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve_config(compose("config", overrides=list(words)), list(words))
