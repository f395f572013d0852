"""Pictures: what the method synthesised, and what an attacker can invert from the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.evaluation.base import Figures, Models, Setting
from unlearn.request import Request
from unlearn.synthesis.inversion import total_variation


@dataclass(frozen=True)
class SamplePictures:
    """samples.png: synthesised images, what the teacher calls them, and the filter's verdict.

    Args:
        most: images shown.
    """

    most: int
    needs_data: bool = False

    def __call__(self, models: Models, setting: Setting) -> Figures:
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


@dataclass(frozen=True)
class InversionAttack:
    """inversion_attack.png: white-box inversion of the first forget class from each network.

    Gradient ascent on the class's log-probability from noise with a total-variation prior, the
    same starts for every network ("Zero-Shot Machine Unlearning", section VI).

    Args:
        images: for each network.
        steps: of Adam.
        learning_rate: of Adam.
        tv_weight: of the total variation.
    """

    images: int
    steps: int
    learning_rate: float
    tv_weight: float
    needs_data: bool = False

    def __call__(self, models: Models, setting: Setting) -> Figures:
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
        random = torch.Generator().manual_seed(request.seed)
        device = request.hardware.device
        label = torch.full((self.images,), request.forget[0], device=device)
        images = torch.randn(self.images, *request.shape, generator=random).to(device)
        images = images.clamp(request.lowest, request.highest).requires_grad_()
        optimizer = Adam([images], self.learning_rate)
        for _ in range(self.steps):
            loss = F.cross_entropy(network(images), label)
            loss = loss + self.tv_weight * total_variation(images)
            optimizer.zero_grad()
            loss.backward(inputs=[images])
            optimizer.step()
            with torch.no_grad():
                images.clamp_(request.lowest, request.highest)
        with torch.no_grad():
            confidence = network(images).softmax(dim=1)[:, request.forget[0]].mean().item()
        return images.detach(), confidence


def _grid(
    setting: Setting, rows: Sequence[Tensor], labels: list[str], titles: list[str], path: Path
) -> None:
    """Write a grid of images, a label before each row and a title over each image."""
    from matplotlib.figure import Figure

    lowest, highest = setting.request.lowest, setting.request.highest
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.1 * columns + 1, 1.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for r, row in enumerate(rows):
        shown = ((row - lowest) / (highest - lowest)).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        for c, image in enumerate(shown):
            axes[r, c].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            if titles:
                axes[r, c].set_title(titles[r * columns + c], fontsize=7)
        if labels[r]:
            axes[r, 0].set_title(labels[r], fontsize=8, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
