"""ModHiFi-U: set the weights to 0 that rebuild the layers' outputs on the forget classes best.

    X = images of the forget classes
    for each of the last convolutions of the teacher, each output channel c and input channel i:
        A_ci = contribution of channel i to the output Y_c = sum over i of A_ci, on X
        s_ci = 1 - min over a of E|Y_c - a A_ci|^2 / E|Y_c|^2
             = E<Y_c, A_ci>^2 / (E|A_ci|^2 E|Y_c|^2)
    W_ci <- 0 for the k input channels with the largest s_ci of each output channel c

"ModHiFi: Identifying High Fidelity predictive components for Model Modification" (Kashyap et al.,
NeurIPS 2025, arXiv 2511.19566): Algorithm 1 with the singleton fidelity of Proposition 3.8. The
centring of appendix D.2 is left out, and so is the variant for transformers. The paper uses images
of a diffusion model; on inverted images (`method/source=inverted`) the method needs no data.
"""

from typing import ClassVar

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Split
from unlearn.errors import RunError
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.inner_products import sum_products
from unlearn.training.labelled import LabelledMethod
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class HighFidelityRemoval(LabelledMethod):
    """Remove the components of the teacher that matter most to the forget classes' images.

    Args: those of `LabelledMethod` (patches of a convolution's batch take much memory), and
        images: Largest number of images of each forget class that are looked at, at least 1.
        layers: Largest number of convolutions that are edited, counted from the last, at least 1.
        removed: Share of each output channel's input channels that are removed, in [0, 1].
    """

    wanted: ClassVar[WantedClasses] = "forget"
    images: PositiveInt
    layers: PositiveInt
    removed: Share

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch and the removal.

        Raises:
            RunError: If the network has no convolution.
        """
        random = torch.Generator().manual_seed(request.seed)
        images, _ = yield from self.collect(request, data, random, self.images)
        student = copy_teacher(request).eval()
        found = [(n, m) for n, m in student.named_modules() if isinstance(m, nn.Conv2d)]
        if not found:
            raise RunError(f"method=modhifi: {type(student).__name__} has no convolution")
        layers = dict(found[-self.layers :])
        products = yield from sum_products(
            "forget", student, layers, images, self.batch_size, request
        )
        for name, layer in layers.items():
            remove_components(layer, compute_fidelity(layer, products[name]), self.removed)
        yield State("remove", 1, 1, student)


@torch.no_grad()
def compute_fidelity(layer: nn.Conv2d, products: Tensor) -> Tensor:
    """Singleton fidelity s_ci of each output and input channel, (out, in / groups), in [0, 1].

    Args:
        layer: Convolution with g groups.
        products: `inner_products` of its inputs, (g, d, d).
    """
    groups, inputs = layer.groups, layer.weight.shape[1]
    sums = products.double().unflatten(2, (inputs, -1)).unflatten(1, (inputs, -1))
    weights = layer.weight.double().flatten(2).unflatten(0, (groups, -1))  # (g, out / g, in, k)
    with_output = torch.einsum("gcik,gikjl,gcjl->gci", weights, sums, weights)
    alone = torch.einsum("gcik,gikil,gcil->gci", weights, sums, weights)
    output = with_output.sum(dim=2, keepdim=True)
    tiny = torch.finfo(output.dtype).tiny
    return (with_output.square() / (alone * output).clamp(min=tiny)).flatten(0, 1)


@torch.no_grad()
def remove_components(layer: nn.Conv2d, fidelity: Tensor, share: float) -> None:
    """Set the weights W_ci with the largest fidelity of each output channel c to 0, in place."""
    count = round(share * fidelity.shape[1])
    chosen = fidelity.topk(count, dim=1).indices
    layer.weight.scatter_(1, chosen[:, :, None, None].expand(-1, -1, *layer.weight.shape[2:]), 0.0)
