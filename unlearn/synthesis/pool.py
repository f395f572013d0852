"""A pool of inverted images of every class, with what the teacher answers on them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, State
from unlearn.synthesis.inversion import DeepInversion, Inverting
from unlearn.training.loops import take


class Pool(NamedTuple):
    """Images (M, N, C, H, W) of M requests and their teachers' logits on them (M, N, K)."""

    images: Tensor
    logits: Tensor

    def drawn(self, count: int, randoms: Sequence[torch.Generator]) -> Pool:
        """`count` random rows of each request's; none where the pool is empty."""
        size = self.images.shape[1]
        rows = [torch.randint(max(1, size), (count if size else 0,), generator=r) for r in randoms]
        chosen = torch.stack(rows).to(self.images.device)
        return Pool(take(self.images, chosen), take(self.logits, chosen))


def empty_pool(requests: Sequence[Request]) -> Pool:
    """A pool without images."""
    request, device = requests[0], requests[0].hardware.device
    images = torch.zeros((len(requests), 0, *request.shape), device=device)
    return Pool(images, images.new_zeros(len(requests), 0, request.num_classes))


def inverted_pool(
    inversion: DeepInversion,
    requests: Sequence[Request],
    randoms: Sequence[torch.Generator],
    images: int,
    batch_size: int,
) -> Generator[list[State], object, Pool]:
    """Yield the states of each inversion step, all requests' in step; return the pool.

    Args:
        inversion: how the images are inverted, all at once.
        requests: M of them.
        randoms: one a request.
        images: of each class.
        batch_size: in which the teachers answer.
    """
    labels = torch.arange(requests[0].num_classes).repeat(images).to(requests[0].hardware.device)
    runs = [
        inversion.invert(r, labels, random) for r, random in zip(requests, randoms, strict=True)
    ]
    while True:
        reached = [_advance(run) for run in runs]
        finished = [images for images in reached if isinstance(images, Tensor)]
        if finished:
            break
        yield [
            State("invert", step, inversion.steps, None, dict(terms))
            for step, terms in (found for found in reached if not isinstance(found, Tensor))
        ]
    logits = [
        compute_logits(request.teacher, found, request.hardware, batch_size)
        for request, found in zip(requests, finished, strict=True)
    ]
    return Pool(torch.stack(finished), torch.stack(logits))


def _advance(inverting: Inverting) -> tuple[int, dict[str, Tensor]] | Tensor:
    """The next step and its loss terms, or the images (N, C, H, W) if there is none."""
    try:
        return next(inverting)
    except StopIteration as end:
        images: Tensor = end.value
        return images
