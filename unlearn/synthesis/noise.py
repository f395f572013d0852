"""Error-minimising and error-maximising noises, all classes optimised as one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from unlearn.errors import RunError
from unlearn.request import Request


@dataclass(frozen=True, kw_only=True)
class ClassNoises:
    """Optimises a set of noises for each class against a frozen teacher.

    Args:
        noises: a class.
        steps: of Adam.
        learning_rate: at the start; halved for a class whose loss has not improved for
            `patience` steps.
        regularisation: lambda, on the forget classes' squared norm (summed over C, H, W,
            averaged over noises).
        patience: in steps.
    """

    noises: int
    steps: int
    learning_rate: float
    regularisation: float
    patience: int

    def optimise(
        self, request: Request, random: torch.Generator
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the step, the noises (K, n, C, H, W) and each class's loss (K,).

        Raises:
            RunError: if a loss is not finite.
        """
        device = request.hardware.device
        shape = (self.noises, *request.shape)
        noises = [
            torch.randn(shape, generator=random).to(device).requires_grad_()
            for _ in range(request.num_classes)
        ]
        optimizer = Adam([{"params": [n]} for n in noises], self.learning_rate, fused=True)
        best = torch.full((request.num_classes,), torch.inf)
        stale = torch.zeros(request.num_classes)
        for step in range(1, self.steps + 1):
            batch = torch.stack(noises)
            losses = self.losses(request, batch)
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            reached = losses.detach().cpu()
            if not torch.isfinite(reached).all():
                raise RunError(
                    f"method.noise_learning_rate={self.learning_rate}: a noise's loss is not "
                    "finite; lower it"
                )
            stale = torch.where(reached < best, 0, stale + 1)
            best = torch.minimum(best, reached)
            self._halve(optimizer, stale)
            yield step, torch.stack(noises).detach(), losses.detach()

    def losses(self, request: Request, noises: Tensor) -> Tensor:
        """Each class's loss (K,) on its noises (K, n, C, H, W)."""
        classes, count = noises.shape[:2]
        labels = torch.arange(classes, device=noises.device).repeat_interleave(count)
        with request.hardware.autocast():
            logits = request.teacher(request.hardware.layout(noises.flatten(0, 1)))
        error = F.cross_entropy(logits.float(), labels, reduction="none")
        error = error.view(classes, count).mean(dim=1)
        norms = noises.square().flatten(2).sum(dim=2).mean(dim=1)
        return torch.where(request.forget_mask, self.regularisation * norms - error, error)

    def _halve(self, optimizer: Adam, stale: Tensor) -> None:
        for index in torch.nonzero(stale >= self.patience).flatten().tolist():
            optimizer.param_groups[index]["lr"] /= 2
            stale[index] = 0
