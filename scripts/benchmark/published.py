"""The published loops, for timing beside ours and for tests that both make the same student.

Only their cost differs from ours: they repeat computations, wait for results and sum in another
order. Only the benchmark and the tests use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Split
from unlearn.methods.gkt import GatedKnowledgeTransfer
from unlearn.models.attention import attention_map
from unlearn.protocol import Request
from unlearn.synthesis.generator import DoublingConv2d, ImageGenerator
from unlearn.synthesis.noise import ClassNoises
from unlearn.training.student import start_student


class PublishedGKT:
    """GKT as published: each student step generates the images again and runs the teacher twice.

    Each step of an iteration runs the generator with its graph, the teacher to gate the rows, and
    the teacher again on the kept rows, and then waits for the loss. In train mode batch norm sees
    the kept rows alone; ours sees all rows. With a gate the students are therefore the same only
    if batch norm is frozen or absent.

    Args:
        method: The settings, with raw targets. `fresh_noise`, schedules and filters other than the
            gate are ignored.
        request: The request of the run, in float32.
        gate: The largest forget probability of a row that is kept; None keeps every row.
    """

    def __init__(
        self, method: GatedKnowledgeTransfer, request: Request, gate: float | None
    ) -> None:
        self.method, self.request, self.gate = method, request, gate
        frozen = method.batch_norm == "frozen"
        self.student = start_student(
            request, share=method.start, fresh_readout=method.fresh_readout, frozen=frozen
        )
        with torch.random.fork_rng():
            torch.manual_seed(request.seed)
            self.generator = use_plain_layers(
                ImageGenerator(method.latent, request.shape, method.generator_width)
            ).to(request.hardware.device)
        self.random = torch.Generator().manual_seed(request.seed)
        self.student_optimizer = Adam(self.student.parameters(), method.learning_rate)
        self.generator_optimizer = Adam(self.generator.parameters(), method.generator_learning_rate)

    def run_iteration(self) -> float:
        """Run one outer iteration and return the last loss."""
        *_, loss = self.run_steps()
        return loss

    def run_steps(self) -> Iterator[float]:
        """Run one outer iteration; yield the loss of each step, the generator's first."""
        noise = torch.randn(self.method.batch_size, self.method.latent, generator=self.random).to(
            self.request.hardware.device
        )
        for _ in range(self.method.generator_steps):
            yield self._step(noise, generator=True)
        for _ in range(self.method.student_steps):
            yield self._step(noise, generator=False)

    def _step(self, noise: Tensor, *, generator: bool) -> float:
        layers = self.request.attention
        with (
            _activations(self.request.teacher, layers) as taught,
            _activations(self.student, layers) as learned,
        ):
            return self._step_listening(noise, taught, learned, generator=generator)

    def _step_listening(
        self, noise: Tensor, taught: list[Tensor], learned: list[Tensor], *, generator: bool
    ) -> float:
        method, request = self.method, self.request
        images = self.generator(noise)
        if self.gate is not None:
            forgotten = request.teacher(images).softmax(dim=1)[:, list(request.forget)]
            images = images[(forgotten <= self.gate).all(dim=1)]
        if len(images) == 0:
            return 0.0
        teacher_logits, teacher_maps = request.teacher(images), _maps(taught)
        student_logits, student_maps = self.student(images), _maps(learned)
        target = (teacher_logits / method.temperature).softmax(dim=1)
        log_student = (student_logits / method.temperature).log_softmax(dim=1)
        loss = F.kl_div(log_student, target, reduction="batchmean") / target.shape[1]
        network, optimizer = (
            (self.generator, self.generator_optimizer)
            if generator
            else (self.student, self.student_optimizer)
        )
        if generator:
            loss = -loss
        else:
            for t, s in zip(teacher_maps, student_maps, strict=True):
                loss = loss + method.attention_weight * (t - s).pow(2).mean()
        self.generator_optimizer.zero_grad()
        self.student_optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), method.clip)
        optimizer.step()
        return float(loss.detach())


def optimise_published_noises(
    settings: ClassNoises, request: Request, random: torch.Generator
) -> Iterator[Tensor]:
    """Optimise EMMN's noises one class after the other.

    Args:
        settings: The number of noises, the steps and the rates.
        request: The request of the run.
        random: Draws the noises that the optimiser starts from.

    Yields:
        After each step the noises of the class (n, C, H, W).
    """
    starts = [
        torch.randn(settings.noises, *request.shape, generator=random)
        for _ in range(request.num_classes)
    ]
    for label, start in enumerate(starts):
        noise = start.to(request.hardware.device).requires_grad_()
        labels = torch.full((settings.noises,), label, device=noise.device)
        optimizer = Adam([noise], settings.learning_rate)
        schedule = ReduceLROnPlateau(
            optimizer, factor=0.5, patience=settings.patience - 1, threshold=0.0
        )
        for _ in range(settings.steps):
            loss = F.cross_entropy(request.teacher(noise), labels)
            if label in request.forget:
                norm = noise.square().flatten(1).sum(dim=1).mean()
                loss = settings.regularisation * norm - loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(loss.item())
            yield noise.detach()


def train_from_loader(
    network: nn.Module, data: Split, settings: TrainingConfig, workers: int = 2
) -> Iterator[float]:
    """Train from a standard DataLoader over the normalised images, without end.

    Nothing is decoded or transformed while the network waits, so this is faster than usual.

    Args:
        network: The network, on the device of the labels.
        data: The training rows.
        settings: The batch size and the optimiser's settings.
        workers: The number of the loader's processes.

    Yields:
        The last loss of each epoch.
    """
    rows = TensorDataset(data.images.cpu(), data.labels.cpu())
    loader = DataLoader(rows, settings.batch_size, shuffle=True, num_workers=workers)
    device = data.labels.device
    optimizer = AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    network.train()
    while True:
        for images, labels in loader:
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield float(loss.detach())


def use_plain_layers(generator: ImageGenerator) -> ImageGenerator:
    """Replace each doubling layer by the published pair: upsample, then convolve."""
    layers: list[nn.Module] = []
    for layer in generator.layers:
        if isinstance(layer, DoublingConv2d):
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
            plain.load_state_dict(layer.state_dict())
            layers += [nn.Upsample(scale_factor=2), plain]
        else:
            layers.append(layer)
    generator.layers = nn.Sequential(*layers)
    return generator


@contextmanager
def _activations(network: nn.Module, layers: tuple[str, ...]) -> Iterator[list[Tensor]]:
    """Keep the outputs of the named layers, each from the last forward pass."""
    kept: list[Tensor] = [torch.empty(0)] * len(layers)
    handles = []
    for index, layer in enumerate(layers):

        def hook(module: nn.Module, inputs: object, output: Tensor, index: int = index) -> None:
            kept[index] = output

        handles.append(network.get_submodule(layer).register_forward_hook(hook))
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _maps(activations: list[Tensor]) -> list[Tensor]:
    return [attention_map(layer) for layer in activations]
