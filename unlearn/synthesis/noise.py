"""Noises that minimise or maximise the error of a class, all classes optimised as one batch."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.errors import RunError
from unlearn.optimizers import Adam
from unlearn.protocol import Request, Samples, State


@dataclass(frozen=True, kw_only=True)
class ClassNoises:
    """Optimises a set of noises for each class against a frozen teacher.

    Args:
        noises: Noises of each class.
        steps: Steps of Adam.
        learning_rate: Learning rate at the start. It is halved for a class whose loss has not
            improved for `patience` steps.
        regularisation: Weight of the squared norm (summed over C, H, W) of the noises that
            maximise the error (lambda in the paper).
        patience: Steps without improvement before the rate is halved.
        maximised: Share of a forget class's noises that maximise the error, in [0, 1]. The others,
            and all noises of the retain classes, minimise it. 1 as published.
        valid: Whether noises stay between black and white; as published they are unbounded.
    """

    noises: int
    steps: int
    learning_rate: float
    regularisation: float
    patience: int
    maximised: float
    valid: bool

    def optimise(
        self, request: Request, random: torch.Generator, classes: Sequence[int] | None = None
    ) -> Generator[State, object, Tensor]:
        """Yield the state after each step; return the noises (k, n, C, H, W).

        Args:
            request: Teacher, shape, number of classes and forget classes.
            random: Draws the noises that the optimisation starts from.
            classes: The k classes that get noises; None: all.

        Raises:
            RunError: If a loss is not finite.
        """
        device = request.hardware.device
        chosen = range(request.num_classes) if classes is None else classes
        labels = torch.tensor(list(chosen), device=device)
        noises = [
            torch.randn(self.noises, *request.shape, generator=random).to(device).requires_grad_()
            for _ in chosen
        ]
        self._confine(noises, request)
        forget = request.forget_mask[labels]
        shown = {"noise.retain": ~forget, "noise.forget": forget}
        shown = {name: rows for name, rows in shown.items() if rows.any()}
        optimizer = Adam([{"params": [n]} for n in noises], self.learning_rate, fused=True)
        losses_of = request.hardware.compile(self.losses)
        answer = partial(request.hardware.run, request.teacher)
        best = torch.full(labels.shape, torch.inf)
        stale = torch.zeros(labels.shape)
        parts: dict[str, Any] = {"optimizer": optimizer, "best": best, "stale": stale}
        parts |= {str(index): noise for index, noise in enumerate(noises)}
        for step in request.progress.steps("noise", self.steps, lambda: parts):
            losses = losses_of(answer, torch.stack(noises), labels, forget)
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            self._confine(noises, request)
            reached = losses.detach().cpu()
            if not torch.isfinite(reached).all():
                raise RunError(
                    f"method.noise_learning_rate={self.learning_rate}: a noise's loss is not "
                    "finite; lower it"
                )
            stale.copy_(torch.where(reached < best, 0, stale + 1))
            best.copy_(torch.minimum(best, reached))
            self._halve(optimizer, stale)
            scalars = {name: losses.detach()[rows].mean() for name, rows in shown.items()}
            samples = None
            if step == self.steps:
                samples = Samples.of_each_class(torch.stack(noises).detach(), labels)
            yield State("noise", step, self.steps, None, scalars, samples)
        return torch.stack(noises).detach()

    def losses(
        self, answer: Callable[[Tensor], Tensor], noises: Tensor, labels: Tensor, forget: Tensor
    ) -> Tensor:
        """Loss of each class on its noises, (k,).

        Args:
            answer: Maps images (B, C, H, W) to the teacher's logits (B, K).
            noises: (k, n, C, H, W).
            labels: The k classes, (k,).
            forget: Bool (k,), true at those of them that are to be forgotten.
        """
        count = noises.shape[1]
        logits = answer(noises.flatten(0, 1))
        errors = F.cross_entropy(logits, labels.repeat_interleave(count), reduction="none")
        errors = errors.view(-1, count)
        norms = noises.square().flatten(2).sum(dim=2)
        return torch.where(
            self.maximising(forget), self.regularisation * norms - errors, errors
        ).mean(dim=1)

    def maximising(self, forget: Tensor) -> Tensor:
        """Which noises maximise the error, bool (k, n); `forget` is bool (k,)."""
        turn = torch.arange(self.noises, device=forget.device)
        return forget[:, None] & (turn < round(self.maximised * self.noises))

    @torch.no_grad()
    def _confine(self, noises: list[Tensor], request: Request) -> None:
        if self.valid:
            for noise in noises:
                noise.clamp_(request.lowest, request.highest)

    def _halve(self, optimizer: Adam, stale: Tensor) -> None:
        for index in torch.nonzero(stale >= self.patience).flatten().tolist():
            optimizer.param_groups[index]["lr"] /= 2
            stale[index] = 0
