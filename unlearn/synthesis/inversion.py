"""DeepInversion: images optimised until a frozen network's batch norm takes them for real ones.

"Dreaming to Distill", Yin et al., CVPR 2020, equations 2 to 4; written from the equations.
"""

import math
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from unlearn.data.synthesised import ImageCache
from unlearn.errors import RunError
from unlearn.models.network import batch_norms
from unlearn.optimizers import Adam
from unlearn.protocol import Request, State


class BatchNormPrior(ExitStack):
    """Measures, while entered, how far a batch is from a network's running statistics.

    R_BN = sum over layers of ||var - running_var||_2 + ||mean - running_mean||_2 (eq. 4).

    Args:
        network: Network in eval mode whose forward passes are listened to.
        first_layer_factor: Factor of the first layer's term, at least 0.
    """

    def __init__(self, network: nn.Module, first_layer_factor: float) -> None:
        super().__init__()
        self._layers = batch_norms(network)
        self._factors = [first_layer_factor, *[1.0] * len(self._layers)][: len(self._layers)]
        self._distances: dict[int, Tensor] = {}

    def __enter__(self) -> Self:
        def measure(index: int):  # type: ignore[no-untyped-def]
            def hook(layer: nn.BatchNorm2d, inputs: tuple[Tensor]) -> Tensor:
                maps, variance, mean = measure_statistics(inputs[0])
                self._distances[index] = _distance(variance, mean, layer)
                return maps

            return hook

        for index, layer in enumerate(self._layers):
            self.callback(layer.register_forward_pre_hook(measure(index)).remove)
        return super().__enter__()

    def penalty(self) -> Tensor:
        """R_BN of the last forward pass, a scalar; 0 for a network without batch norm."""
        terms = [factor * self._distances[i] for i, factor in enumerate(self._factors)]
        return torch.stack(terms).sum() if terms else torch.zeros(())


def _distance(variance: Tensor, mean: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    """||var - running_var||_2 + ||mean - running_mean||_2, a scalar."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    distance: Tensor = (variance - layer.running_var).norm() + (mean - layer.running_mean).norm()
    return distance


def measure_statistics(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps (B, C, H, W), and the float32 variance and mean of each channel, (C,).

    The maps are to be used in place of those given. In bfloat16 on a CPU the statistics are a
    function of its own, 17 times as fast: `torch.var_mean` does not vectorise there.
    """
    if maps.dtype == torch.bfloat16 and maps.device.type == "cpu":
        passed, variance, mean = _Statistics.apply(maps)
        return passed, variance, mean
    variance, mean = torch.var_mean(maps.float(), dim=(0, 2, 3), correction=0)
    return maps, variance, mean


class _Statistics(torch.autograd.Function):
    """Maps (B, C, H, W) passed through, and the biased variance and mean of each channel.

    In one function because its gradient then joins the layer's own in two passes over memory.
    """

    @staticmethod
    def forward(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unused = [torch.zeros(maps.shape[1]) for _ in range(2)]  # float32, and so are the results
        mean, variance = torch.ops.aten.batch_norm_update_stats(maps, *unused, 0.0)
        return maps.view_as(maps), variance, mean

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(inputs[0], output[2])

    @staticmethod
    def backward(ctx: Any, passed: Tensor, of_variance: Tensor, of_mean: Tensor) -> Tensor:
        maps, mean = ctx.saved_tensors
        count = maps.numel() // maps.shape[1]
        slope, shift = 2 * of_variance / count, of_mean / count
        # slope * (maps - mean) + shift, in one pass
        own = F.batch_norm(maps, mean, torch.ones_like(mean), slope, shift, eps=0.0)
        return own.add_(passed)


def total_variation(images: Tensor) -> Tensor:
    """TV_l2 of images (N, C, H, W), a scalar (eq. 3).

    It is the sum of the l2 norms of the differences to the four forward neighbours.
    """
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    diagonal = images[..., 1:, 1:] - images[..., :-1, :-1]
    antidiagonal = images[..., 1:, :-1] - images[..., :-1, 1:]
    return torch.stack([d.norm() for d in (right, down, diagonal, antidiagonal)]).sum()


@dataclass(frozen=True, kw_only=True)
class DeepInversion:
    """CE(T(x), y) + batch_norm_weight * R_BN + tv_weight * TV_l2 + l2_weight * ||x||_2.

    Args:
        steps: Steps of Adam (betas 0.5, 0.9), cosine to zero after a linear warm-up.
        learning_rate: Learning rate at the end of the warm-up.
        tv_weight: Weight of the total variation.
        warmup: Steps of the warm-up.
        batch_norm_weight: Weight of R_BN; 0 for networks without batch norm.
        first_layer_factor: Factor of the first layer in R_BN.
        l2_weight: Weight of the mean l2 norm of an image.
        jitter: Largest shift in pixels; each step draws its own.
        flip: Whether half of the steps see the batch mirrored.
    """

    steps: int
    learning_rate: float
    tv_weight: float
    warmup: int = 0
    batch_norm_weight: float = 0.0
    first_layer_factor: float = 1.0
    l2_weight: float = 0.0
    jitter: int = 0
    flip: bool = False

    def invert(
        self,
        request: Request,
        labels: Tensor,
        random: torch.Generator,
        before: int = 0,
        total: int | None = None,
    ) -> Generator[State, object, Tensor]:
        """Yield the state after each step; return the images.

        Images of every class do not depend on the classes to forget. They are kept, and a later
        request of the same teacher, settings and random numbers takes them without any step.

        Args:
            request: Teacher, shape and bounds of an image, hardware, progress and kept images.
            labels: Class of each image, (N,), on the device.
            random: Draws noise, shifts and flips.
            before: Steps of the stage `invert` that were done for other batches.
            total: Steps of the stage; None: those of this batch.

        Returns:
            (N, C, H, W), normalised, between black and white.

        Raises:
            RunError: If the images are not finite.
        """
        shared = request.images if len(labels.unique()) == request.num_classes else ImageCache()
        settings = {"inversion": asdict(self), "labels": labels.tolist(), "shape": request.shape}
        found = shared.load(settings, random)
        if found is not None:
            return found.to(labels.device)
        start, seconds, first = random.clone_state(), 0.0, None
        steps = self._optimise(request, labels, random)
        while True:
            begun = time.perf_counter()
            try:
                step, terms = next(steps)
            except StopIteration as end:
                images: Tensor = end.value
                break
            seconds += time.perf_counter() - begun
            first = first or step
            yield State("invert", before + step, total or self.steps, None, terms)
        if first == 1:  # of a run that went on from a checkpoint the seconds are not known
            shared.save(settings, start, images, random, seconds)
        return images

    def _optimise(
        self, request: Request, labels: Tensor, random: torch.Generator
    ) -> Generator[tuple[int, dict[str, Tensor]], None, Tensor]:
        """Yield each step's number and the terms of its loss; return the images."""
        images = torch.randn(len(labels), *request.shape, generator=random).to(labels.device)
        images = images.clamp(request.lowest, request.highest).requires_grad_()
        optimizer = Adam([images], self.learning_rate, betas=(0.5, 0.9), fused=True)
        schedule = LambdaLR(optimizer, self._rate)
        terms_of = request.hardware.compile(self._terms)
        with BatchNormPrior(request.teacher, self.first_layer_factor) as prior:
            parts = {"images": images, "optimizer": optimizer}
            parts |= {"schedule": schedule, "random": random}
            for step in request.progress.steps("invert", self.steps, lambda: parts):
                terms = terms_of(request, self._augment(images, random), labels, prior)
                loss = torch.stack(list(terms.values())).sum()
                optimizer.zero_grad()
                loss.backward(inputs=[images])
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    images.clamp_(request.lowest, request.highest)
                yield step, {name: term.detach() for name, term in terms.items()}
        if not torch.isfinite(images).all():
            raise RunError(
                f"method.inversion_learning_rate={self.learning_rate}: the inverted images are "
                "not finite; lower it"
            )
        return images.detach()

    def _terms(
        self, request: Request, images: Tensor, labels: Tensor, prior: BatchNormPrior
    ) -> dict[str, Tensor]:
        logits = request.hardware.run(request.teacher, images)
        terms = {
            "class": F.cross_entropy(logits, labels),
            "total_variation": self.tv_weight * total_variation(images),
            "norm": self.l2_weight * images.flatten(1).norm(dim=1).mean(),
        }
        if self.batch_norm_weight:
            terms["batch_norm"] = self.batch_norm_weight * prior.penalty()
        return terms

    def _augment(self, images: Tensor, random: torch.Generator) -> Tensor:
        if self.jitter:
            down, right = torch.randint(
                -self.jitter, self.jitter + 1, (2,), generator=random
            ).tolist()
            images = images.roll((down, right), dims=(2, 3))
        if self.flip and torch.rand(1, generator=random).tolist()[0] < 0.5:
            images = images.flip(3)
        return images

    def _rate(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def is_recognised(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images the teacher answers with the class that they were made for, bool (N,).

    Of a class without such an image, all images count: they are the nearest to it.

    Args:
        logits: Logits of the teacher, (N, K).
        labels: Class that each image was made for, (N,).
    """
    right = logits.argmax(dim=1) == labels
    found = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    found[labels[right]] = True
    return right | ~found[labels]


def describe_answers(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Describe what the teacher answers to synthesised images.

    Args:
        logits: Logits of the teacher, (N, K).
        labels: Class that each image was made for, (N,), each class equally often.

    Returns:
        `confidence.k`: mean probability of class k over the images made for it, for each class
        that images were made for. `answered`: share of images answered with their class.
        `balance`: entropy of the answers divided by that of an even spread over all K classes, in
        [0, 1].
    """
    wanted = labels.unique()
    probabilities = logits.softmax(dim=1)[torch.arange(len(labels)), labels]
    figures = {
        f"confidence.{label}": probabilities[labels == label].mean() for label in wanted.tolist()
    }
    answers = logits.argmax(dim=1)
    shares = answers.bincount(minlength=logits.shape[1]) / len(answers)
    spread = torch.special.entr(shares).sum() / math.log(logits.shape[1])
    return {**figures, "answered": (answers == labels).double().mean(), "balance": spread}
