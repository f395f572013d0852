"""ISPF: a generator kept off the forget classes teaches a student filtered answers.

    for each iteration
        generator step:  z ~ N(0, I), x = G(z), t = softmax T(x), s = softmax S(x)
            L_adv = sum over forget columns k of t_k log(t_k / s_k)
                    - the same sum over retain columns                     (inhibited synthesis)
            minimise L_adv + a * R_BN(T, x) + b * CE(T(x), argmax T(x)) - c * H(mean of t)
        student steps:   x = G(z), z anew;  p(x) = T(x) post-filtered: where a forget class
            holds more than a threshold of the probability, its logit drops to the row's lowest
            and the surplus goes to the retain logits                      (post filter)
            minimise KL(p(x) || S(x))

"Toward Efficient Data-Free Unlearning" (Zhang et al., AAAI 2025) and its code: SGD with momentum
and weight decay for the student, Adam (0.5, 0.999) for the generator. Three things differ from the
code. Both rates go to zero by the iteration, where the code's generator keeps its own and its
student ends at 2e-4. Generator and student are always in train mode, where the code puts one in
eval mode while the other learns. The generator has no warm-up. The method has no gate of its own:
every image counts unless `filter` drops it.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.optimizers import SGD
from unlearn.protocol import Request, Steps
from unlearn.synthesis.inversion import BatchNormPrior
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer
from unlearn.training.student import BatchNorm


@dataclass(config=CLOSED, kw_only=True)
class InhibitedPostFilter(AdversarialSettings):
    """ISPF; each of its two parts can be switched off.

    Args: those of `AdversarialSettings`, and
        inhibited: Whether the divergence changes its sign on the forget columns in the generator's
            loss.
        weight_decay: Weight decay of the student, at least 0.
        batch_norm_prior: Weight of R_BN (a in the box above), at least 0; a teacher without batch
            norm has no such term.
        confidence_weight: Weight of the cross-entropy with the teacher's own answer (b), at least
            0.
        balance_weight: Weight of the entropy of the answers over the batch (c), at least 0.
    """

    access: ClassVar[Access] = "none"
    inhibited: bool
    weight_decay: NonNegativeFloat
    batch_norm_prior: NonNegativeFloat
    confidence_weight: NonNegativeFloat
    balance_weight: NonNegativeFloat
    batch_norm: BatchNorm

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
                    trainer.require_images()
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
    """Mean over rows of sum_k +-t_k log(t_k / s_k): plus on forget columns, minus on the others.

    A generator that minimises it seeks disagreement over the retain classes and avoids images of
    the forget classes.

    Args:
        teacher: Logits of the teacher, (B, K).
        student: Logits of the student, (B, K).
        forget: Bool (K,), true at the classes to forget.
    """
    log_teacher, log_student = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    columns = log_teacher.exp() * (log_teacher - log_student)
    return torch.where(forget, columns, -columns).sum(dim=1).mean()
