"""Synthetic embeddings: teach the last layers of the network on random inputs to them.

    e = random embeddings in place of the output of a chosen layer of the teacher T
    p = softmax of the logits that the layers of T after it give e, the forget classes masked
    minimise KL(p || layers of S after it(e)) over those layers; the layers before stay T's

"A Universal Source-Free Class Unlearning Framework via Synthetic Embeddings" (TMLR 2026): what the
model itself answers to random embeddings is enough to unlearn from, whatever their distribution.
Here they are Gaussian with the mean square of T's features on noise images. Their negative half is
cut off if T's features have none (after a ReLU). Batch norm stays at the teacher's statistics.
"""

from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.models.network import readout
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, State, Steps
from unlearn.training.loops import distil
from unlearn.training.losses import target_probabilities
from unlearn.training.student import copy_teacher

_PROBES = 64  # noise images that the teacher's features are measured on


@dataclass(config=CLOSED, kw_only=True)
class Embeddings:
    """Masked distillation of a network's last layers on random embeddings.

    Args:
        layer: Name of the module whose output the embeddings replace. No path through the network
            may go round it. None: the input of the last linear layer with one row a class.
        embeddings: Number of embeddings, at least 1.
        epochs: Passes over the embeddings, at least 1.
        batch_size: Embeddings of a step, at least 1.
        learning_rate: Learning rate of Adam, cosine to zero; above 0.
    """

    access: ClassVar[Access] = "none"
    layer: str | None
    embeddings: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat

    def check_network(self, network: nn.Module) -> None:
        """Raise `ConfigError` if the network has no such layer."""
        if self.layer is not None and self.layer not in dict(network.named_modules()):
            raise ConfigError("method.layer", self.layer, "names no layer of the network")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each epoch; see `Method`.

        Raises:
            RunError: If no layer is named and none is linear with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        teacher = LayersAfter(request.teacher, self.layer, request)
        features = teacher.compute_features(request, random)
        embeddings = draw_embeddings(features, self.embeddings, random)
        logits = compute_logits(teacher, embeddings, request.hardware, self.batch_size)
        student = copy_teacher(request).eval()
        for epoch, loss in distil(
            LayersAfter(student, self.layer, request),
            embeddings,
            target_probabilities(logits, request.forget_mask, "masked"),
            request.filter(logits, request.forget_mask),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            request=request,
            random=random,
        ):
            yield State("distil", epoch, self.epochs, student, {"loss": loss})


class LayersAfter(nn.Module):
    """The layers after a place in a network: they map the features there to logits.

    Args:
        network: The whole network. It is put in eval mode, as embeddings say nothing of the
            statistics of batch norm.
        layer: Name of the layer whose output is replaced; None: the input of the last linear layer.
        request: Number of classes and shape of an image.
    """

    def __init__(self, network: nn.Module, layer: str | None, request: Request) -> None:
        super().__init__()
        self.network, self._shape = network.eval(), request.shape
        place = readout(network, request.num_classes) if layer is None else None
        self._input = place is not None
        self._place = [place if place is not None else network.get_submodule(layer or "")]

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits (B, K) of embeddings (B, ...), which replace the features of one grey image."""
        logits, _ = self._pass(embeddings.new_zeros(1, *self._shape), embeddings)
        return logits

    @torch.no_grad()
    def compute_features(self, request: Request, random: torch.Generator) -> Tensor:
        """The network's own features (64, ...) on images of noise between black and white."""
        noise = torch.rand((_PROBES, *self._shape), generator=random).to(request.lowest.device)
        images = request.lowest + noise * (request.highest - request.lowest)
        _, features = self._pass(request.hardware.layout(images), None)
        return features

    def _pass(self, images: Tensor, embeddings: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits, and the features at the place; the embeddings replace these if there are any."""
        found: list[Tensor] = []

        def swap(features: Tensor) -> Tensor:
            found.append(features if embeddings is None else embeddings)
            return found[0]

        (place,) = self._place
        if self._input:
            hook = place.register_forward_pre_hook(lambda _, inputs: (swap(inputs[0]),))
        else:
            hook = place.register_forward_hook(lambda _, __, output: swap(output))
        logits: Tensor = self.network(images)
        hook.remove()
        return logits, found[0]


def draw_embeddings(features: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Draw Gaussians (count, ...) with the features' mean square, rectified if the features are.

    Args:
        features: Some true features, (N, ...).
        count: Number of embeddings.
        random: Generator of the draw.
    """
    drawn = torch.randn((count, *features.shape[1:]), generator=random).to(features.device)
    if features.min() >= 0:
        drawn = drawn.relu()
    scale = features.float().square().mean() / drawn.square().mean()
    return drawn * scale.sqrt()
