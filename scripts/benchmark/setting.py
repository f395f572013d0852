"""The setting that a benchmark times: a run's parts, its trained teacher and its request."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from unlearn.config.schema import RunConfig
from unlearn.data.tensors import Split
from unlearn.models.checkpoint import load_into
from unlearn.protocol import Request
from unlearn.records.template import new_record
from unlearn.runner.build import Parts, build
from unlearn.runner.networks import make_request, train_network
from unlearn.runner.session import Session


@dataclass(frozen=True)
class Setting:
    """A run that is ready to unlearn.

    Args:
        config: The run.
        parts: Everything built from the config; nobody observes it.
        request: What the method is given.
    """

    config: RunConfig
    parts: Parts
    request: Request

    def retain_rows(self) -> Split:
        """Return the training rows of the retain classes."""
        assert self.parts.data is not None
        return self.parts.data.train.only(self.config.retain)


def prepare_setting(config: RunConfig) -> Setting:
    """Build the parts of a run and get its teacher, trained or loaded.

    Raises:
        UnlearnError: If the run cannot begin.
    """
    parts = build(config)
    parts.observers.clear()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        session = Session(config, parts, new_record(config, ""), folder)
        if config.model.checkpoint is None:
            teacher = train_network(session, "teacher")
        else:
            teacher = parts.new_network(0)
            load_into(teacher, config.model.checkpoint)
            teacher = parts.hardware.place(teacher).eval()
    return Setting(config, parts, make_request(config, parts, teacher))
