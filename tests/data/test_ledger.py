"""The ledger: each real row that is read counts once, however a method reads it."""

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch

from tests.helpers.tiny import MakeRequest
from unlearn.data.ledger import Ledger
from unlearn.data.tensors import Access, Data, Split
from unlearn.synthesis.sources import Real

Read = Callable[[Split], object]


def shuffled(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counted(data: Data, access: Access, *reads: Read) -> dict[str, int | list[int]]:
    """What a ledger holds after a method with this access, forgetting class 0, has read."""
    ledger = data.blank_ledger()
    view = data.view(access, (0,), ledger)
    for read in reads:
        read(view)
    return ledger.counts(data.train.labels, data.num_classes)


@pytest.mark.parametrize(
    ("read", "images", "labels"),
    [
        (lambda view: len(view), 0, 0),
        (lambda view: view.images, 400, 0),
        (lambda view: view.labels, 0, 400),
        (lambda view: view.only((1, 2)), 0, 400),
        (lambda view: view.only((1, 2)).images, 200, 400),
        (lambda view: view.only((1, 2)).only((2,)).images, 100, 400),
        (lambda view: view.batches(32, shuffled()), 0, 0),
        (lambda view: list(islice(view.batches(32, shuffled()), 3)), 96, 96),
        (lambda view: list(view.batches(32, shuffled())), 400, 400),
        (lambda view: list(islice(view.only((3,)).batches(32, shuffled()), 1)), 32, 400),
        (lambda view: copy.deepcopy(view).images, 400, 0),
    ],
)
def test_every_read_is_counted(easy_data: Data, read: Read, images: int, labels: int) -> None:
    found = counted(easy_data, "all", read)
    assert (found["images"], found["labels"]) == (images, labels)


def test_a_row_that_is_read_again_is_not_counted_again(easy_data: Data) -> None:
    def first(view: Split) -> object:
        return list(islice(view.batches(50, shuffled()), 2))

    once, twice = counted(easy_data, "all", first), counted(easy_data, "all", first, first)
    assert once == twice
    other = counted(easy_data, "all", first, lambda v: list(islice(v.batches(50, shuffled(1)), 2)))
    assert 100 < int(str(other["images"])) < 200, "two draws overlap in part"


@pytest.mark.parametrize(
    ("access", "each"), [("forget", [100, 0, 0, 0]), ("retain", [0, 100, 100, 100])]
)
def test_rows_are_counted_by_class(easy_data: Data, access: Access, each: list[int]) -> None:
    found = counted(easy_data, access, lambda view: view.images)
    assert found["images_per_class"] == each
    assert found["images"] == sum(each)


def test_what_the_runner_reads_is_not_the_methods(easy_data: Data) -> None:
    ledger = easy_data.blank_ledger()
    assert easy_data.view("all", (0,), ledger) is not None
    assert len(easy_data.train.only((1,)).images) == len(easy_data.test.images) / 2
    assert not ledger.images.any()
    assert not ledger.labels.any()


def test_an_earlier_attempts_rows_are_added() -> None:
    earlier, now = (Ledger.blank(5, torch.device("cpu")) for _ in range(2))
    earlier.images[:2] = True
    now.images[1:3] = True
    now.labels[4] = True
    now.restore(copy.deepcopy(earlier.plain()))
    assert now.images.tolist() == [True, True, True, False, False]
    assert now.labels.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(("own", "asked", "each"), [(None, 5, 5), (4, 5, 4), (4, None, 4)])
def test_a_sample_takes_all_labels_and_no_other_image(
    easy_data: Data,
    make_request: MakeRequest,
    own: int | None,
    asked: int | None,
    each: int,
) -> None:
    ledger = easy_data.blank_ledger()
    view = easy_data.view("all", (0,), ledger)
    random = torch.Generator().manual_seed(2)
    reading = Real(most=own).examples(make_request(), view, "all", random, asked)
    with pytest.raises(StopIteration) as end:
        next(reading)
    labels = easy_data.train.labels
    found, counts = end.value.value, ledger.counts(labels, easy_data.num_classes)
    assert counts["images_per_class"] == [each] * easy_data.num_classes
    assert counts["labels"] == len(labels)
    rows = ledger.images.nonzero().flatten()
    taken, read = (found.images.flatten(1).sum(1).sort(), easy_data.train.images[rows])
    torch.testing.assert_close(taken.values, read.flatten(1).sum(1).sort().values)
    assert torch.equal(found.labels.bincount(), labels[rows].bincount())
