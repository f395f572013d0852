"""SSD: weights that matter far more to the forgotten classes than to all are damped, untrained.

    I_F = mean over batches of the forget classes' images of (gradient of CE)^2
    I_D = the same over batches of all classes' images
    where I_F > alpha * I_D:  theta <- theta * min(lambda * I_D / I_F, 1)

"Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening" (Foster et al.,
AAAI 2024), with the network in eval mode. The paper squares the gradients of single images
(`method.batch_size=1`); its code (`ssd.py`, `calc_importance`) those of batches, as here. It
matters: squares of single images give I_F <= (images of all / images of the forget classes) * I_D,
so that one of ten classes of a size selects nothing at alpha = 10, while in batches of all classes
the gradients of unlike images cancel. On inverted images (`method/source=inverted`) it needs no
data.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import average_gradients
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class SelectiveDampening:
    """The teacher with the weights damped that the forget classes need above all.

    Args:
        source: of the images.
        batch_size: images whose gradients are averaged before they are squared.
        selection_weight: alpha: how many times I_D a weight's I_F must exceed to be damped.
        dampening: lambda: a damped weight keeps this many times I_D / I_F of itself.
    """

    source: Source
    batch_size: int
    selection_weight: float
    dampening: float

    @property
    def access(self) -> Access:
        """All classes' images, or none where the source makes them."""
        return self.source.access("all")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch and the dampening."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "all", random)
        student = taught_student(request).eval()
        forgotten = examples.of(request.forget)
        needed = yield from self._importances("forget", student, forgotten, request, random)
        shared = yield from self._importances("all", student, examples, request, random)
        share = self.dampen(student, needed, shared)
        yield State("dampen", 1, 1, student, {"dampened": share})

    def _importances(
        self,
        stage: str,
        student: nn.Module,
        examples: Examples,
        request: Request,
        random: torch.Generator,
    ) -> Generator[State, object, list[Tensor]]:
        return average_gradients(
            f"importance.{stage}",
            student,
            examples,
            torch.square,
            batch_size=self.batch_size,
            request=request,
            random=random,
        )

    @torch.no_grad()
    def dampen(
        self, student: nn.Module, needed: Sequence[Tensor], shared: Sequence[Tensor]
    ) -> Tensor:
        """Damp the student in place by I_F and I_D of each parameter; the share damped."""
        damped, count = torch.zeros((), device=needed[0].device), 0
        for weight, forget, every in zip(student.parameters(), needed, shared, strict=True):
            chosen = forget > self.selection_weight * every
            factor = (self.dampening * every / forget).clamp(max=1)
            weight.copy_(torch.where(chosen, weight * factor, weight))
            damped, count = damped + chosen.sum(), count + chosen.numel()
        return damped / count
