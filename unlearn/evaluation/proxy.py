"""A student without any data: its answers on images that are inverted from the teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn.evaluation.attack import inverted
from unlearn.evaluation.base import Figures, Models, Setting


@dataclass(frozen=True)
class Proxy:
    """Stand-ins for D_r and D_f on images of every class that are inverted from the teacher.

    Args:
        images: of each class.
        steps: of the inversion, and the other keys of `inverted`.
        learning_rate: of the inversion.
        tv_weight: of the total variation.
    """

    images: int
    steps: int
    learning_rate: float
    tv_weight: float
    needs_data: bool = False

    def __call__(self, models: Models, setting: Setting) -> Figures:
        """Percentages, and their difference, which a search without data can maximise.

        `retain`: of the retain classes' images, those that the student gives the teacher's
        answer to. `forget`: of the forget classes' images, those that it answers with a forget
        class. `score`: retain - forget.
        """
        request = setting.request
        labels = torch.arange(request.num_classes).repeat(self.images).to(request.hardware.device)
        images = inverted(
            models.original,
            request,
            labels,
            steps=self.steps,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
        )
        with torch.no_grad():
            taught = models.original(images).argmax(dim=1)
            answered = models.unlearned(images).argmax(dim=1)
        kept = ~request.forget_mask[labels]
        agreeing = (answered == taught)[kept].double().mean().item()
        forgetting = request.forget_mask[answered][~kept].double().mean().item()
        return {
            "retain": 100 * agreeing,
            "forget": 100 * forgetting,
            "score": 100 * (agreeing - forgetting),
        }
