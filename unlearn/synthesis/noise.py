"""Noises that minimise or maximise the error of a class, all classes optimised as one batch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from unlearn.errors import RunError
from unlearn.models.members import Member, Members, each
from unlearn.protocol import Request


@dataclass(frozen=True, kw_only=True)
class ClassNoises:
    """Optimises a set of noises for each class against a frozen teacher.

    Args:
        noises: a class.
        steps: of Adam.
        learning_rate: at the start; halved for a class whose loss has not improved for
            `patience` steps.
        regularisation: lambda, on the squared norm (summed over C, H, W) of the noises that
            maximise.
        patience: in steps.
        maximised: share of a forget class's noises that maximise the error, in [0, 1]; the
            others, and all of the retain classes', minimise it. 1 as published.
        valid: whether noises stay between black and white; as published they go anywhere.
    """

    noises: int
    steps: int
    learning_rate: float
    regularisation: float
    patience: int
    maximised: float
    valid: bool

    def optimise(
        self,
        teachers: Members,
        requests: Sequence[Request],
        randoms: Sequence[torch.Generator],
        classes: Sequence[int] | None = None,
    ) -> Generator[tuple[int, Tensor, Tensor], None, Tensor]:
        """Yield the step, the noises (M, k, n, C, H, W) and each class's loss (M, k).

        Returns the noises.

        Args:
            teachers: of the M requests.
            requests: shape, number of classes, forget classes.
            randoms: one a request, for the noises.
            classes: the k classes that get noises; None: all.

        Raises:
            RunError: if a loss is not finite.
        """
        shape, device = requests[0].shape, requests[0].hardware.device
        chosen = range(requests[0].num_classes) if classes is None else classes
        labels = torch.tensor(list(chosen), device=device).expand(len(requests), -1)
        noises = [
            [
                torch.randn(self.noises, *shape, generator=random).to(device).requires_grad_()
                for _ in chosen
            ]
            for random in randoms
        ]
        self._confine(noises, requests)
        forget = torch.stack([request.forget_mask for request in requests]).gather(1, labels)
        groups = [{"params": [noise]} for member in noises for noise in member]
        optimizer = Adam(groups, self.learning_rate, fused=True)
        losses_of = requests[0].hardware.compile(self.losses)
        best = torch.full(forget.shape, torch.inf)
        stale = torch.zeros(forget.shape)
        parts: dict[str, Any] = {"optimizer": optimizer, "best": best, "stale": stale}
        parts |= {str(i): n for i, n in enumerate(n for member in noises for n in member)}
        for step in requests[0].progress.steps("noise", self.steps, lambda: parts):
            batch = _stack(noises)
            losses = each(losses_of, [teachers], batch, labels, forget)
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            self._confine(noises, requests)
            reached = losses.detach().cpu()
            if not torch.isfinite(reached).all():
                raise RunError(
                    f"method.noise_learning_rate={self.learning_rate}: a noise's loss is not "
                    "finite; lower it"
                )
            stale.copy_(torch.where(reached < best, 0, stale + 1))
            best.copy_(torch.minimum(best, reached))
            self._halve(optimizer, stale)
            yield step, _stack(noises).detach(), losses.detach()
        return _stack(noises).detach()

    def losses(self, teacher: Member, noises: Tensor, labels: Tensor, forget: Tensor) -> Tensor:
        """The loss (k,) of the classes `labels` (k,), `forget` (k,) or not, on their noises."""
        count = noises.shape[1]
        logits = teacher(noises.flatten(0, 1))
        errors = F.cross_entropy(logits, labels.repeat_interleave(count), reduction="none")
        errors = errors.view(-1, count)
        norms = noises.square().flatten(2).sum(dim=2)
        return torch.where(
            self.maximising(forget), self.regularisation * norms - errors, errors
        ).mean(dim=1)

    def maximising(self, forget: Tensor) -> Tensor:
        """Which noises maximise the error, bool (k, n); `forget` (k,) says of which classes."""
        turn = torch.arange(self.noises, device=forget.device)
        return forget[:, None] & (turn < round(self.maximised * self.noises))

    @torch.no_grad()
    def _confine(self, noises: list[list[Tensor]], requests: Sequence[Request]) -> None:
        if self.valid:
            for member, request in zip(noises, requests, strict=True):
                for noise in member:
                    noise.clamp_(request.lowest, request.highest)

    def _halve(self, optimizer: Adam, stale: Tensor) -> None:
        for index in torch.nonzero(stale.flatten() >= self.patience).flatten().tolist():
            optimizer.param_groups[index]["lr"] /= 2
            stale.view(-1)[index] = 0


def _stack(noises: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(member) for member in noises])
