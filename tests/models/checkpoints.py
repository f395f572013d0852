"""A small network whose checkpoints the tests write and read."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlearn.errors import ConfigError
from unlearn.models.checkpoint import load_into

State = dict[str, Tensor]


def network(seed: int) -> nn.Sequential:
    """A small network with batch norm whose statistics are not the initial ones."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)
    )
    for _ in range(seed + 1):
        net(torch.randn(8, 1, 8, 8) + seed)
    return net


def state(net: nn.Module) -> State:
    """The network's state, copied."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first: State, second: State) -> bool:
    """Whether two states have the same names in the same order, the same types and values."""
    return list(first) == list(second) and all(
        first[k].dtype == second[k].dtype and torch.equal(first[k], second[k]) for k in first
    )


def prefixed(prefix: str, weights: State) -> State:
    """The state under names that begin with `prefix`."""
    return {prefix + name: tensor for name, tensor in weights.items()}


def refusal(path: Path, net: nn.Module | None = None) -> str:
    """The one line that a checkpoint is refused with; the network keeps its weights."""
    net = net or network(0)
    before = state(net)
    with pytest.raises(ConfigError) as caught:
        load_into(net, str(path))
    message = str(caught.value)
    assert caught.value.key == "model.checkpoint"
    assert message.startswith(f"model.checkpoint={path}: ")
    assert "\n" not in message
    assert same(state(net), before)
    return message
