"""ISPF: a generator held off the forgotten class teaches a student filtered answers.

    for each iteration
        generator step:  z ~ N(0, I), x = G(z), t = softmax T(x), s = softmax S(x)
            L_adv = sum over forget columns k of t_k log(t_k / s_k)
                    - the same sum over retain columns                     (inhibited synthesis)
            minimise L_adv + a * R_BN(T, x) + b * CE(T(x), argmax T(x)) - c * H(mean of t)
        student steps:   x = G(z), z anew;  p(x) = T(x) post-filtered: where a forget class
            holds more than a threshold of the mass, its logit drops to the row's lowest and
            the surplus goes to the retain logits                          (post filter)
            minimise KL(p(x) || S(x))

"Toward Efficient Data-Free Unlearning", Zhang et al., AAAI 2025, and its code: SGD with momentum
and weight decay for the student, Adam (0.5, 0.999) for the generator. Unlike there, both rates go
to zero by the iteration (the code's generator keeps its own, its student ends at 2e-4), generator
and student are in train mode throughout (in eval mode there while the other learns), and the
generator has no warm-up. No gate of its own: every image counts unless `filter` drops it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.inversion import BatchNormPrior
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer


@dataclass(frozen=True, kw_only=True)
class InhibitedPostFilter(AdversarialSettings):
    """ISPF, each of its two parts switchable.

    Args:
        inhibited: whether the sign of the divergence flips on the forget columns in the
            generator's loss.
        weight_decay: of the student.
        batch_norm_prior: a, of R_BN; a teacher without batch norm has no such term.
        confidence_weight: b, of the cross-entropy with the teacher's own answer.
        balance_weight: c, of the entropy of the answers over the batch.
        as_published: for the record; the config has then laid the published settings over these.
    """

    inhibited: bool
    weight_decay: float
    batch_norm_prior: float
    confidence_weight: float
    balance_weight: float
    as_published: bool = False

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each iteration; see `Method`."""
        with ISPFTrainer(self, request) as trainer:
            for iteration in request.progress.steps("transfer", self.iterations, trainer.parts):
                for _ in range(self.generator_steps):
                    trainer.generator_step(trainer.draw_noise())
                for _ in range(self.student_steps):
                    batch = trainer.synthesise(trainer.draw_noise())
                    terms = trainer.student_step(batch)
                trainer.step_schedules()
                if iteration == self.iterations:
                    trainer.require_finite(terms)
                    trainer.require_fed()
                yield trainer.state(iteration, batch, terms)


class ISPFTrainer(AdversarialTrainer):
    """Adds ISPF's generator loss and optimisers."""

    stage: ClassVar[str] = "transfer"
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)

    def __init__(self, method: InhibitedPostFilter, request: Request) -> None:
        self.method = method
        super().__init__(method, request)

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """SGD with momentum and weight decay."""
        rate, decay = self.method.learning_rate, self.method.weight_decay
        return SGD(student.parameters(), rate, momentum=0.9, weight_decay=decay)

    def generator_loss(self, noise: Tensor) -> Tensor:
        """The inhibited divergence and three terms that keep the images near real ones."""
        method, run = self.method, self.hardware.run
        images = run(self.generator, noise)
        with BatchNormPrior(self.teacher, 1.0) as prior:
            logits = run(self.teacher, images)
            unfamiliar = prior.penalty()
        flipped = self.forget if method.inhibited else torch.zeros_like(self.forget)
        mean = logits.softmax(dim=1).mean(dim=0)
        loss: Tensor = (
            inhibited_divergence(logits, run(self.student, images), flipped)
            + method.batch_norm_prior * unfamiliar
            + method.confidence_weight * F.cross_entropy(logits, logits.argmax(dim=1))
            - method.balance_weight * torch.special.entr(mean).sum()
        )
        return loss

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and summed over classes, to which the published rate is tuned."""
        return super().divergence(target, logits, weights) * logits.shape[1]


def inhibited_divergence(teacher: Tensor, student: Tensor, forget: Tensor) -> Tensor:
    """Mean over rows of the columns t_k log(t_k / s_k): plus on forget columns, minus on others.

    A generator that minimises it seeks disagreement over the retain classes and shuns images of
    the forget classes.

    Args:
        teacher: logits (B, K).
        student: logits (B, K).
        forget: bool (K,).
    """
    log_teacher, log_student = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    columns = log_teacher.exp() * (log_teacher - log_student)
    return torch.where(forget, columns, -columns).sum(dim=1).mean()
