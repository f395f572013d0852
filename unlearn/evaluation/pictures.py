"""Pictures: what the method synthesised, and what an attacker can invert from the networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import Figures, MetricContext, Models
from unlearn.evaluation.inversion import invert_classes
from unlearn.protocol import Request

_CELL = (1.1, 1.5)  # inches of an image and its words
_SIDE = 1.0  # of the image's longer side


@dataclass(config=CLOSED)
class SamplePictures:
    """samples.png: synthesised images, what the teacher calls them, and the filter's verdict.

    Args:
        most: images shown.
    """

    most: PositiveInt
    needs_data: bool = False

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Draw; the figure is how many of the shown images the filter keeps, or None."""
        samples = setting.samples
        if samples is None:
            return {"shown": None, "kept": None}
        images, weights = samples.images[: self.most], samples.weights[: self.most]
        titles = [
            f"{setting.classes[label]}\n{'kept' if weight > 0 else 'dropped'}"
            for label, weight in zip(samples.classes.tolist(), weights.tolist(), strict=False)
        ]
        columns = 8
        rows = [images[i : i + columns] for i in range(0, len(images), columns)]
        _grid(setting, rows, [""] * len(rows), titles, setting.figures / "samples.png")
        return {"shown": len(images), "kept": int((weights > 0).sum())}


@dataclass(config=CLOSED)
class InversionAttack:
    """inversion_attack.png: white-box inversion of the first forget class from each network.

    The same starts for every network; see `inverted`.

    Args:
        images: for each network.
        steps: of Adam.
        learning_rate: of Adam.
        tv_weight: of the total variation.
    """

    images: PositiveInt
    steps: NonNegativeInt
    learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat
    needs_data: bool = False

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Draw; the figures are the mean probability of the class reached, {model: confidence}."""
        attacked = dict(models.items())
        rows, confidences = [], {}
        for name, network in attacked.items():
            images, confidence = self._invert(network, setting.request)
            rows.append(images)
            confidences[name] = confidence
        name = setting.classes[setting.request.forget[0]]
        _grid(
            setting,
            rows,
            [f"{name}, {model}" for model in attacked],
            [],
            setting.figures / "inversion_attack.png",
        )
        return confidences

    def _invert(self, network: nn.Module, request: Request) -> tuple[Tensor, float]:
        target = request.forget[0]
        images = invert_classes(
            network,
            request,
            torch.full((self.images,), target, device=request.hardware.device),
            steps=self.steps,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
            seed=request.seed,
        )
        with torch.no_grad():
            confidence = network(images).softmax(dim=1)[:, target].mean().item()
        return images, confidence


def _grid(
    setting: MetricContext, rows: Sequence[Tensor], labels: list[str], titles: list[str], path: Path
) -> None:
    """Write a grid of images, a label before each row and a title over each image.

    All on one pair of axes, in units of a cell: one for each image takes four times as long.
    """
    from matplotlib.figure import Figure

    lowest, highest = setting.request.lowest, setting.request.highest
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(_CELL[0] * columns, _CELL[1] * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for r, row in enumerate(rows):
        shown = ((row - lowest) / (highest - lowest)).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        for c, image in enumerate(shown):
            height, width = (_SIDE * side / max(image.shape[:2]) for side in image.shape[:2])
            right, bottom = c + 0.05 + width / _CELL[0], r + 0.3 + height / _CELL[1]
            place = (c + 0.05, right, bottom, r + 0.3)
            axes.imshow(image.squeeze(), "gray", aspect="auto", vmin=0, vmax=1, extent=place)
            if titles:
                axes.text(c + 0.5, r + 0.27, titles[r * columns + c], fontsize=7, ha="center")
        axes.text(0.05, r + 0.27, labels[r], fontsize=8)
    axes.set(xlim=(0, columns), ylim=(len(rows), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
