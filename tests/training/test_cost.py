"""What an iteration costs, in counts that no machine's speed changes."""

from __future__ import annotations

import gc
from collections import Counter
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from scripts.benchmark.published import PublishedGKT
from tests.helpers.methods import build
from tests.helpers.tiny import MakeRequest
from unlearn.filters.compose import gate_and_entropy
from unlearn.synthesis.generator import ImageGenerator

# Operations whose result, or its shape, the host must wait for.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "index.Tensor")


class Operations(TorchDispatchMode):
    """Counts every operation by name; boolean indexing counts, plain indexing does not."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        boolean = name != "index.Tensor" or any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1]
        )
        if boolean:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def waits(self) -> int:
        return sum(n for name, n in self.counts.items() if name.startswith(WAITING))


gkt = partial(build, "gkt", iterations=1000, student_steps=10, target="raw")


class Calls:
    """Forward passes of teacher, student and generator while it is entered."""

    def __init__(self, teacher: nn.Module) -> None:
        self.teacher, self.counts = teacher, Counter[str]()

    def __enter__(self) -> Calls:
        self._handle = nn.modules.module.register_module_forward_hook(self._count)
        return self

    def _count(self, module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(module, ImageGenerator):
            self.counts["generator"] += 1
        elif isinstance(module, type(self.teacher)):
            self.counts["teacher" if module is self.teacher else "student"] += 1

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


@pytest.mark.parametrize(
    ("fresh_noise", "expected"),
    [
        (False, {"generator": 2, "teacher": 2, "student": 11}),
        (True, {"generator": 11, "teacher": 11, "student": 11}),
    ],
)
def test_forward_passes_of_a_gkt_iteration(
    make_request: MakeRequest, fresh_noise: bool, expected: dict[str, int]
) -> None:
    request = make_request(filter=gate_and_entropy(0.5, None, "all"))
    steps = gkt(fresh_noise=fresh_noise).unlearn(request, None)
    next(steps)
    with Calls(request.teacher) as calls:
        next(steps)
    assert dict(calls.counts) == expected


def test_forward_passes_and_waits_as_published(make_request: MakeRequest) -> None:
    """The counts can tell: the published loop asks the teacher 22 times and waits every step."""
    request = make_request()
    published = PublishedGKT(gkt(), request, gate=0.9)
    with Calls(request.teacher) as calls, Operations() as operations:
        published.run_iteration()
    assert dict(calls.counts) == {"generator": 11, "teacher": 22, "student": 11}
    assert operations.waits >= 22


@pytest.mark.parametrize("target", ["raw", "masked", "postfilter"])
@pytest.mark.parametrize("definition", ["all", "retain", "normalised", "quantile"])
def test_gkt_never_waits(make_request: MakeRequest, target: str, definition: Any) -> None:
    """Gate, filter, target, losses, clipping and optimisers; a look at the loss comes at 25."""
    request = make_request(filter=gate_and_entropy(0.5, 0.9, definition))
    steps = gkt(target=target, fresh_noise=True).unlearn(request, None)
    next(steps)
    with Operations() as operations:
        for _ in range(3):
            next(steps)
    assert operations.counts, "something was counted"
    assert operations.waits == 0, operations.counts


def test_noise_asks_the_teacher_once_a_step_for_all_classes(make_request: MakeRequest) -> None:
    request = make_request()
    steps = build("noise").unlearn(request, None)
    next(steps)
    with Calls(request.teacher) as calls:
        for _ in range(5):
            next(steps)
    assert dict(calls.counts) == {"teacher": 5}


inversion = partial(
    build, "inversion", images=4, inversion_batch=16, inversion_steps=1000, warmup=5, flip=True
)


def test_an_inversion_step_is_one_pass_without_a_wait(
    make_request: MakeRequest,
) -> None:
    request = make_request()
    steps = inversion().unlearn(request, None)
    next(steps)
    with Calls(request.teacher) as calls, Operations() as operations:
        for _ in range(5):
            next(steps)
    assert dict(calls.counts) == {"teacher": 5}
    assert operations.waits == 0, operations.counts


@pytest.mark.parametrize(
    "method", [gkt(), gkt(fresh_noise=True), inversion()], ids=lambda m: type(m).__name__
)
def test_nothing_grows_with_the_iterations(make_request: MakeRequest, method: Any) -> None:
    """Tensors alive after many iterations are those after a few."""

    def alive() -> int:
        gc.collect()
        tensors = (o for o in gc.get_objects() if issubclass(type(o), Tensor))
        return sum(o.nbytes for o in tensors if o.layout is torch.strided)

    steps = method.unlearn(make_request(), None)
    for _ in range(5):
        next(steps)
    few = alive()
    for _ in range(40):
        next(steps)
    assert alive() <= few
