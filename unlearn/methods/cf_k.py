"""CF-k: train the last k layers on without the forget classes, and freeze the others.

    X, Y = images and labels of the retain classes
    minimise CE(S(X), Y) over the last k layers of S, starting from the teacher T

"Towards Adversarial Evaluations for Inexact Machine Unlearning" (Goel et al., arXiv 2201.06640):
catastrophically forgetting the last k layers. SGD without momentum, as in the code of SCRUB
(`fk_fientune`). Batch norm of the frozen layers stays at the teacher's statistics. On inverted
images (`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.training.labelled import LastLayersMethod


@dataclass(config=CLOSED, kw_only=True)
class CatastrophicForgetting(LastLayersMethod):
    """Train the teacher's last layers on with the retain classes.

    Its settings are those of `LastLayersMethod`.
    """

    stage: ClassVar[str] = "cf_k"
