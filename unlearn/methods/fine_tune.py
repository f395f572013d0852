"""Fine-tuning: train on without the forget classes, and count on catastrophic forgetting.

    X, Y = images and labels of the retain classes
    minimise CE(S(X), Y) over S, starting from the teacher T

The baseline "Fine-tune" of "Eternal Sunshine of the Spotless Net" (Golatkar et al., CVPR 2020). On
inverted images (`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod


@dataclass(config=CLOSED, kw_only=True)
class FineTune(EpochMethod):
    """Train the teacher on with the retain classes alone; settings as in `EpochMethod`."""

    wanted: ClassVar[WantedClasses] = "retain"
    stage: ClassVar[str] = "fine_tune"
