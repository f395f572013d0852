"""Images inverted from the teacher: any method that needs data, without."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from unlearn.data.tensors import Access, Split
from unlearn.methods.base import State
from unlearn.models.network import has_batch_norm
from unlearn.request import Request
from unlearn.sources.base import Examples, Wanted, classes_of
from unlearn.synthesis.inversion import DeepInversion, invert_states


@dataclass(frozen=True, kw_only=True)
class Inverted:
    """DeepInversion images of the classes wanted, all optimised at once ("Dreaming to Distill").

    Args:
        images: of each class.
        steps: of Adam, a tenth of them to warm up.
        learning_rate: at the peak.
        batch_norm_weight: of the distance to the teacher's batch-norm statistics; a teacher
            without batch norm has no such term.
        tv_weight: of the total variation.
    """

    images: int
    steps: int
    learning_rate: float
    batch_norm_weight: float
    tv_weight: float

    def access(self, wanted: Wanted) -> Access:
        """No data, whatever is asked for."""
        return "none"

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: Wanted,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Invert the images; see `Source`."""
        labels = torch.tensor(classes_of(request, wanted)).repeat(self.images)
        labels = labels.to(request.hardware.device)
        prior = self.batch_norm_weight if has_batch_norm(request.teacher) else 0.0
        inversion = DeepInversion(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=self.steps // 10,
            batch_norm_weight=prior,
            first_layer_factor=10.0,
            tv_weight=self.tv_weight,
            l2_weight=0.0,
            jitter=1,
            flip=False,
        )
        inverting = inversion.invert(request, labels, random)
        images = yield from invert_states(inverting, 0, self.steps)
        examples = Examples(images, labels)
        return examples if most is None else examples.most(most, random)
