"""Subspace removal: project the forget classes' own input directions out of each layer.

    for each convolution and linear layer with weights W, of the teacher:
        for F = forget and R = retain classes:
            U, s = singular vectors and squared singular values (sum 1) of the layer's inputs
                   (patches, of a convolution) on the images of the classes
            M = U diag(a * s / ((a - 1) * s + 1)) U^T, with a = a_F or a_R
        W <- W (I - (M_F - M_F M_R))^T

"Deep Unlearning: Fast and Efficient Gradient-free Class Forgetting" (Kodge et al., TMLR 2024),
and its code (class_forgetting): all inputs are the teacher's; biases and batch norm stay. The
paper searches a_F and a_R by training accuracy; here they are fixed. On inverted images
(`method/source=inverted`) it needs no data.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import LabelledMethod
from unlearn.training.student import copy_teacher

Layer = nn.Conv2d | nn.Linear


@dataclass(config=CLOSED, kw_only=True)
class SubspaceRemoval(LabelledMethod):
    """Project the forget classes' input directions out of the teacher's weights.

    Args: those of `LabelledMethod` (patches of a convolution's batch take much memory), and
        images: Largest number of images of each class that are looked at, at least 1.
        forget_scale: How fully the forget classes' directions count as theirs (a_F), above 0.
        retain_scale: How fully the retain classes' directions are kept (a_R), above 0.
    """

    wanted: ClassVar[WantedClasses] = "all"
    images: PositiveInt
    forget_scale: PositiveFloat
    retain_scale: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch and the projection."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random, self.images)
        student = copy_teacher(request).eval()
        layers = {n: m for n, m in student.named_modules() if isinstance(m, Layer)}
        forget, retain = (examples.of(kind).images for kind in (request.forget, request.retain))
        products = yield from self._sum_products("forget", student, layers, forget, request)
        others = yield from self._sum_products("retain", student, layers, retain, request)
        with torch.no_grad():
            for name, layer in layers.items():
                project(
                    layer,
                    subspace(products[name], self.forget_scale),
                    subspace(others[name], self.retain_scale),
                )
        yield State("project", 1, 1, student)

    @torch.no_grad()
    def _sum_products(
        self,
        kind: str,
        network: nn.Module,
        layers: Mapping[str, Layer],
        images: Tensor,
        request: Request,
    ) -> Generator[State, object, dict[str, Tensor]]:
        """Yield the state after each batch; return the sums of each layer's inner products."""
        sums = {name: _no_products(layer) for name, layer in layers.items()}
        batches = images.split(self.batch_size)
        stage = f"inputs.{kind}"
        for step in request.progress.steps(stage, len(batches), lambda: sums):
            with ExitStack() as hooks, request.hardware.autocast():
                for name, layer in layers.items():
                    hook = layer.register_forward_pre_hook(partial(_add, sums[name]))
                    hooks.callback(hook.remove)
                network(request.hardware.layout(batches[step - 1]))
            yield State(stage, step, len(batches), None)
        return sums


def _no_products(layer: Layer) -> Tensor:
    weight = layer.weight
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    size = weight[0].numel()
    return torch.zeros(groups, size, size, device=weight.device)


def _add(total: Tensor, layer: Layer, inputs: tuple[Tensor]) -> None:
    with torch.autocast(inputs[0].device.type, enabled=False):
        total += inner_products(layer, inputs[0].float())


def inner_products(layer: Layer, inputs: Tensor) -> Tensor:
    """Sum over inputs x of x x^T, (g, d, d), with x as a row of the weights meets it.

    Args:
        layer: Convolution with g groups of weights (out, d), or a linear layer (g = 1).
        inputs: Inputs of the layer, (B, C, H, W) or (..., d).
    """
    if isinstance(layer, nn.Linear):
        rows = inputs.flatten(0, -2)
        return (rows.T @ rows)[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
    columns = patches.reshape(len(patches), layer.groups, -1, patches.shape[-1])
    return torch.einsum("bgdl,bgel->gde", columns, columns)


def subspace(products: Tensor, scale: float) -> Tensor:
    """M = U diag(a s / ((a - 1) s + 1)) U^T of inner products (g, d, d), of the same shape."""
    values, vectors = torch.linalg.eigh(products.double())
    shares = values.clamp(min=0)
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
    weights = scale * shares / ((scale - 1) * shares + 1)
    directions: Tensor = vectors @ (weights[..., None] * vectors.mT)
    return directions


def project(layer: Layer, forget: Tensor, retain: Tensor) -> None:
    """W <- W (I - (M_F - M_F M_R))^T in place, M_F and M_R (g, d, d)."""
    kept = torch.eye(forget.shape[-1], dtype=forget.dtype, device=forget.device)
    kept = kept - (forget - forget @ retain)
    rows = layer.weight.double().reshape(len(kept), -1, kept.shape[-1])
    layer.weight.copy_((rows @ kept.mT).view_as(layer.weight))
