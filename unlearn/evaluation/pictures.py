"""Pictures of what the method synthesised, and of what an attacker can invert from the networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models
from unlearn.evaluation.inversion import Inversion
from unlearn.protocol import Request

_CELL = (1.1, 1.5)  # width and height of an image with its text, inches
_SIDE = 1.0  # the image's longer side, inches
_COLUMNS = 8


@dataclass(config=CLOSED)
class SamplePictures:
    """samples.png: synthesised images with the teacher's answers and the filter's verdicts.

    Args:
        most: Upper limit on the images shown.
    """

    most: PositiveInt
    needs_data: ClassVar[bool] = False
    draws: ClassVar[bool] = True  # puts pictures of the class into the run folder

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Draw the picture, if the method showed samples.

        Returns:
            `shown`: number of images in the picture; `kept`: how many of them the filter keeps.
            Both are None without samples.
        """
        samples = context.samples
        if samples is None:
            return {"shown": None, "kept": None}
        images, weights = samples.images[: self.most], samples.weights[: self.most]
        titles = [
            f"{context.class_names[label]}\n{'kept' if weight > 0 else 'dropped'}"
            for label, weight in zip(samples.classes.tolist(), weights.tolist(), strict=False)
        ]
        rows = list(images.split(_COLUMNS))
        path = context.picture_folder / "samples.png"
        _draw_grid(context.request, rows, [""] * len(rows), titles, path)
        return {"shown": len(images), "kept": int((weights > 0).sum())}


@dataclass(config=CLOSED, kw_only=True)
class InversionAttack(Inversion):
    """inversion_attack.png: images of the first forget class, inverted from each network.

    Args:
        images: Images for each network, from the same starts.
    """

    images: PositiveInt
    needs_data: ClassVar[bool] = False
    draws: ClassVar[bool] = True  # puts pictures of the class into the run folder
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "unlearned": FigureName("attack confidence")
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Invert the images and draw the picture.

        Returns:
            For each model, the mean probability of the class that it gives its images, 0 to 1.
        """
        networks = dict(models.items())
        class_name = context.class_names[context.request.forget[0]]
        rows, confidences = [], {}
        for name, network in networks.items():
            images, confidences[name] = self._attack(network, context.request)
            rows.append(images)
        labels = [f"{class_name}, {name}" for name in networks]
        path = context.picture_folder / "inversion_attack.png"
        _draw_grid(context.request, rows, labels, [], path)
        return confidences

    def _attack(self, network: nn.Module, request: Request) -> tuple[Tensor, float]:
        target = request.forget[0]
        labels = torch.full((self.images,), target, device=request.hardware.device)
        images = self.invert(network, request, labels, request.seed)
        with torch.no_grad():
            confidence = network(images).softmax(dim=1)[:, target].mean().item()
        return images, confidence


def _draw_grid(
    request: Request, rows: Sequence[Tensor], labels: list[str], titles: list[str], path: Path
) -> None:
    """Write a grid of images, with a label before each row and a title above each image.

    All images share one pair of axes, in units of a cell; a pair of axes for each image takes
    four times as long.
    """
    from matplotlib.figure import Figure

    lowest, highest = request.lowest, request.highest
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
                words = titles[r * columns + c]
                axes.text(c + 0.5, r + 0.27, words, fontsize=7, ha="center", parse_math=False)
        axes.text(0.05, r + 0.27, labels[r], fontsize=8, parse_math=False)
    axes.set(xlim=(0, columns), ylim=(len(rows), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
