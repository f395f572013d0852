"""A small real network for the unit tests, and the hardware it runs on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Split
from unlearn.evaluation.base import Models
from unlearn.hardware import Hardware
from unlearn.protocol import Request
from unlearn.resume import Progress
from unlearn.training.supervised import train

MakeRequest = Callable[..., Request]
CPU = Hardware(torch.device("cpu"))
CLASSES = 4


class TinyNet(nn.Module):
    """conv-BN-ReLU, conv-BN-ReLU, pool, linear: 8 x 8 grey images to four logits."""

    def __init__(self, batch_norm: bool = True) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d if batch_norm else lambda _: nn.Identity()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), norm(6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), norm(8), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(images)).mean(dim=(2, 3)))
        return logits


def seeded_net(seed: int, batch_norm: bool = True) -> TinyNet:
    """A network with seeded weights and, if it has batch norm, lived-in statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TinyNet(batch_norm)
        if batch_norm:
            network.train()
            with torch.no_grad():
                for _ in range(20):
                    network(torch.rand(64, 1, 8, 8))
    return network.eval()


def net_without_readout() -> nn.Sequential:
    """A network that ends with a convolution: no linear layer has one row a class."""
    layers = (seeded_net(1).first, nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers).requires_grad_(False).eval()


def trained(data: Split, classes: tuple[int, ...], seed: int, epochs: int = 12) -> nn.Module:
    """Such a network, trained on these classes; in eval mode."""
    settings = TrainingConfig(
        seed=seed,
        epochs=epochs,
        batch_size=50,
        optimizer="adamw",
        learning_rate=0.02,
        weight_decay=0.01,
    )
    network = seeded_net(seed)
    list(train(network, data.only(classes), settings, CPU, Progress()))
    return network.eval()


@dataclass(frozen=True)
class Networks:
    """Networks trained on `easy_data`: two on all classes, four without class 0."""

    original: nn.Module
    judge: nn.Module
    retrained: list[nn.Module]

    @property
    def models(self) -> Models:
        """The original, and two retrained networks as retrained and unlearned model."""
        return Models(self.original, *self.retrained[:2])


class WrittenNet(nn.Module):
    """Answers each image with the logits in its first pixels; see `write_logits`."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :CLASSES]


def write_logits(logits: Tensor, labels: Tensor) -> Split:
    """Images (N, 1, 8, 8) that `WrittenNet` answers with these logits (N, 4), and their labels."""
    images = torch.zeros(len(logits), 1, 8, 8)
    images[:, 0, 0, :CLASSES] = logits
    return Split(images, labels)
