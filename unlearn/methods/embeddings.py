"""Synthetic embeddings: the layers after a place in the network taught on random inputs to them.

    e = random embeddings, as a chosen layer of the teacher T might put them out
    p = softmax of the logits that the rest of T gives e, its forget classes' masked
    minimise KL(p || rest of S(e)) over that rest; what stands before the layer stays the teacher's

"A Universal Source-Free Class Unlearning Framework via Synthetic Embeddings" (TMLR 2026): what the
model itself takes random embeddings for is enough to unlearn from, whatever their distribution.
Here they are Gaussian with the mean square of T's features on noise images, and their negative half
is cut off if T's features have none (after a ReLU). Batch norm stays at the teacher's statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.models.network import readout
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, State, Steps
from unlearn.training.loops import distil
from unlearn.training.losses import target_probabilities
from unlearn.training.student import taught_student

_PROBES = 64  # noise images that the teacher's features are measured on


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Masked distillation of a network's last layers on random embeddings.

    Args:
        layer: name of the module whose output the embeddings stand for, and which no path through
            the network goes round; None: the input of the last linear layer with one row a class.
        embeddings: how many.
        epochs: over them.
        batch_size: of a step.
        learning_rate: of Adam, cosine to zero.
    """

    layer: str | None
    embeddings: int
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def check_network(self, network: nn.Module) -> None:
        """Raise `ConfigError` if the layer is none of the network's."""
        if self.layer is not None and self.layer not in dict(network.named_modules()):
            raise ConfigError("method.layer", self.layer, "names no layer of the network")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each epoch; see `Method`.

        Raises:
            RunError: if no layer is named and none is linear with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        teacher = Rest(request.teacher, self.layer, request)
        embeddings = random_embeddings(teacher.features(request, random), self.embeddings, random)
        logits = compute_logits(teacher, embeddings, request.hardware, self.batch_size)
        weights = request.filter(logits, request.forget_mask)
        student = taught_student(request).eval()
        for epoch, loss in distil(
            Rest(student, self.layer, request),
            embeddings,
            target_probabilities(logits, request.forget_mask, "masked"),
            weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            temperature=1.0,
            hardware=request.hardware,
            random=random,
            progress=request.progress,
        ):
            yield State("distil", epoch, self.epochs, student, {"loss": loss})


class Rest(nn.Module):
    """What stands after a place in a network: maps the features there to logits.

    Args:
        network: all of it; in eval mode, as what is put in says nothing of batch norm's statistics.
        layer: whose output is replaced; None: the readout's input.
        request: number of classes and shape of an image.
    """

    def __init__(self, network: nn.Module, layer: str | None, request: Request) -> None:
        super().__init__()
        self.network, self._shape = network.eval(), request.shape
        place = readout(network, request.num_classes) if layer is None else None
        self._input = place is not None
        self._place = [place if place is not None else network.get_submodule(layer or "")]

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits (B, K) of embeddings (B, ...), which take the place of one grey image's."""
        logits, _ = self._pass(embeddings.new_zeros(1, *self._shape), embeddings)
        return logits

    @torch.no_grad()
    def features(self, request: Request, random: torch.Generator) -> Tensor:
        """The network's own features on images of noise between black and white."""
        noise = torch.rand((_PROBES, *self._shape), generator=random).to(request.lowest.device)
        images = request.lowest + noise * (request.highest - request.lowest)
        _, features = self._pass(request.hardware.layout(images), None)
        return features

    def _pass(self, images: Tensor, embeddings: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits and the features at the place, replaced by the embeddings if there are any."""
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


def random_embeddings(features: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Gaussians (count, ...) with the features' mean square, rectified if the features are.

    Args:
        features: (N, ...), some true ones.
        count: how many.
        random: of the draw.
    """
    drawn = torch.randn((count, *features.shape[1:]), generator=random).to(features.device)
    if features.min() >= 0:
        drawn = drawn.relu()
    scale = features.float().square().mean() / drawn.square().mean()
    return drawn * scale.sqrt()
