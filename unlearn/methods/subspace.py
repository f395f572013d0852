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

from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.inner_products import Layer, sum_products
from unlearn.training.labelled import LabelledMethod
from unlearn.training.student import copy_teacher


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
        size = self.batch_size
        products = yield from sum_products("forget", student, layers, forget, size, request)
        others = yield from sum_products("retain", student, layers, retain, size, request)
        with torch.no_grad():
            for name, layer in layers.items():
                project(
                    layer,
                    subspace(products[name], self.forget_scale),
                    subspace(others[name], self.retain_scale),
                )
        yield State("project", 1, 1, student)


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
