"""Networks that PyTorch allows and few people write: each is trained here and forgets a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unlearn.api import run


class Plain(nn.Module):
    """Convolution, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Linear(64, 10)

    def features(self, images: Tensor) -> Tensor:
        maps = nn.functional.max_pool2d(torch.relu(self.conv(images)), 2)
        return maps.flatten(1)

    def forward(self, images: Tensor) -> Any:
        return self.out(self.features(images))


class ExtraState(Plain):
    """Keeps plain values in its state dict."""

    def get_extra_state(self) -> Any:
        return {"classes": ["zero", "one"]}

    def set_extra_state(self, state: Any) -> None:
        self.kept = state


class Tied(Plain):
    """Two layers share one weight, and a buffer is no contiguous tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("strided", torch.zeros(4, 4).T[:, ::2])

    def features(self, images: Tensor) -> Tensor:
        return self.other(torch.relu(self.one(super().features(images))))


class Parametrised(Plain):
    """Weights are computed from others at each pass."""

    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.conv)
        nn.utils.parametrizations.spectral_norm(self.out)


class Unused(Plain):
    """Has a layer that no pass reaches, frozen weights, an integer buffer and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.register_buffer("count", torch.zeros((), dtype=torch.int32))
        self.drop = nn.Dropout(0.2)
        self.conv.bias.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        return self.drop(super().features(images))


class Scalar(Plain):
    """Has a scalar parameter and batch norm without weights or statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.norm = nn.BatchNorm2d(4, affine=False, track_running_stats=False)

    def features(self, images: Tensor) -> Tensor:
        maps = self.norm(self.conv(images * self.scale))
        return nn.functional.max_pool2d(torch.relu(maps), 2).flatten(1)


class Answers(Plain):
    """Answers with a dictionary."""

    def forward(self, images: Tensor) -> Any:
        return {"features": self.features(images), "logits": self.out(self.features(images))}


@pytest.mark.parametrize("method", ["regrow", "gkt"])
@pytest.mark.parametrize(
    "network", [ExtraState, Tied, Parametrised, Unused, Scalar, Answers], ids=lambda n: n.__name__
)
def test_it_is_trained_and_unlearned(network: type[nn.Module], method: str, tmp_path: Path) -> None:
    words = [f"model._target_={network.__module__}.{network.__qualname__}", f"method={method}"]
    words += ["method.iterations=1", "training.epochs=1", "filter.gate=null", "evaluation=quick"]
    words += ["tracking.mode=disabled", "hardware.threads=1", f"outputs={tmp_path}"]
    outcome = run(["model=custom", *words])
    assert outcome.record["status"] == "complete"
    (student,) = outcome.directory.glob("student.*")
    (teacher,) = (tmp_path / "cache").glob(f"teacher-*/model{student.suffix}")
    assert set(_read(student)) == set(_read(teacher))


def _read(file: Path) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        return load_file(file)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state
