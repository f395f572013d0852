"""Splits by seed, normalisation, views by access, and the seal on real data."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from unlearn.data.source import RawImages
from unlearn.data.tensors import Access, Data, DataContractError, Split, prepare

TRAIN, TEST, CLASSES = 50, 20, 5


def raw_images(channels: int = 1) -> RawImages:
    """Images whose first pixel is the row's number, so that a row can be told by its image."""
    generator = np.random.default_rng(3)

    def part(count: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = generator.integers(0, 256, (count, channels, 4, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(first, first + count)
        labels = np.arange(count) * 7 % CLASSES
        return torch.from_numpy(images), torch.from_numpy(labels)

    return RawImages(*part(TRAIN, 0), *part(TEST, 100))


def prepared(
    seed: int = 0,
    validation: float = 0.2,
    raw: RawImages | None = None,
    memory: float = float("inf"),
) -> Data:
    """The plain data set: with mean 0 and std 1 an image is its bytes over 255."""
    return prepare(
        raw or raw_images(),
        num_classes=CLASSES,
        mean=(0.0,),
        std=(1.0,),
        validation=validation,
        seed=seed,
        device=torch.device("cpu"),
        memory=memory,
    )


def rows(split: Split) -> list[int]:
    """The numbers of the rows in a split, in its order."""
    numbers: list[int] = (split.images[:, 0, 0, 0] * 255).round().int().tolist()
    return numbers


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 10), (0.33, 16), (0.9, 45)])
def test_validation_is_its_share_of_train_and_nothing_is_lost(share: float, count: int) -> None:
    data = prepared(validation=share)
    held_out, kept = rows(data.validation), rows(data.train)
    assert len(data.validation) == len(held_out) == count
    assert not set(held_out) & set(kept)
    assert sorted(held_out + kept) == list(range(TRAIN))
    assert rows(data.test) == list(range(100, 100 + TEST))


def test_a_validation_set_of_its_own_is_used_as_it_is() -> None:
    raw = raw_images()
    own = dataclasses.replace(
        raw, validation_images=raw.test_images[:4], validation_labels=raw.test_labels[:4]
    )
    data = prepared(validation=0.5, raw=own)
    assert rows(data.validation) == [100, 101, 102, 103]
    assert sorted(rows(data.train)) == sorted(rows(data.train_drawn_by(7))) == list(range(TRAIN))
    assert data.fingerprint != prepared(raw=raw).fingerprint


def test_labels_stay_with_their_images() -> None:
    data = prepared()
    for split, first in ((data.train, 0), (data.validation, 0), (data.test, 100)):
        assert split.labels.tolist() == [(row - first) * 7 % CLASSES for row in rows(split)]
        assert split.labels.dtype == torch.int64


def test_same_seed_same_split_and_other_seed_another() -> None:
    first, again, other = prepared(seed=4), prepared(seed=4), prepared(seed=5)
    assert rows(first.validation) == rows(again.validation)
    assert rows(first.train) == rows(again.train)
    assert set(rows(first.validation)) != set(rows(other.validation))
    assert rows(first.test) == rows(other.test)


def test_split_neither_reads_nor_moves_the_global_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = rows(prepared().validation)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert rows(prepared().validation) == first


def test_normalisation_is_the_textbook_one_per_channel() -> None:
    raw, mean, std = raw_images(channels=3), (0.1, 0.5, 0.7), (0.2, 0.25, 0.5)
    data = prepare(
        raw,
        num_classes=CLASSES,
        mean=mean,
        std=std,
        validation=0.2,
        seed=0,
        device=torch.device("cpu"),
    )
    first_pixels = data.train.images[:, 0, 0, 0] * std[0] + mean[0]
    order = (first_pixels * 255).round().int().tolist()
    for split, values in (
        (data.test, raw.test_images.numpy()),
        (data.train, raw.train_images.numpy()[order]),
    ):
        scaled = values.astype(np.float64) / 255
        expected = np.stack([(scaled[:, c] - mean[c]) / std[c] for c in range(3)], axis=1)
        assert split.images.dtype == torch.float32
        np.testing.assert_allclose(split.images.numpy(), expected, rtol=0, atol=1e-6)


def test_fingerprint_tells_data_apart_but_not_seeds() -> None:
    changed = raw_images()
    changed.test_images[0, 0, 1, 1] ^= 1
    relabelled = raw_images()
    relabelled.train_labels[0] += 1
    plain = prepared().fingerprint
    assert plain == prepared(seed=9, validation=0.5).fingerprint
    assert (
        len({plain, prepared(raw=changed).fingerprint, prepared(raw=relabelled).fingerprint}) == 3
    )


def test_only_keeps_exactly_the_named_classes_in_order() -> None:
    data = prepared(validation=0.0)
    some = data.train.only((1, 4))
    assert rows(some) == [row for row in rows(data.train) if row * 7 % CLASSES in (1, 4)]
    assert set(some.labels.tolist()) == {1, 4}
    assert len(data.train.only(())) == 0


@pytest.mark.parametrize("memory", [0, 1e9])
@pytest.mark.parametrize(
    ("access", "classes"), [("forget", {1, 3}), ("retain", {0, 2, 4}), ("all", {0, 1, 2, 3, 4})]
)
def test_a_view_holds_the_granted_rows(access: Access, classes: set[int], memory: float) -> None:
    data = prepared(memory=memory)
    view = data.view(access, (1, 3))
    assert rows(view) == [row for row in rows(data.train) if row * 7 % CLASSES in classes]
    assert set(view.labels.tolist()) == classes
    assert not set(rows(view)) & set(rows(data.validation))


@pytest.mark.parametrize("access", ["none", "oracle"])
def test_view_is_nothing_without_access(access: Access) -> None:
    assert prepared().view(access, (0,)) is None


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_sealed_data_raises_for_every_way_in(part: str) -> None:
    data = prepared()
    split: Split = getattr(data, part)
    derived = split.only((0, 1))
    taken = split.images
    ways: list[Callable[[], object]] = [lambda: taken[0], lambda: data.view("retain", (0,))]
    for closed in (split, derived):
        ways += [lambda c=closed: c.images, lambda c=closed: c.labels]
        ways += [lambda c=closed: c.only((0,))]
        ways += [lambda c=closed: next(c.batches(4, torch.Generator()))]
    with data.sealed():
        for way in ways:
            with pytest.raises(DataContractError, match="real data"):
                way()
    assert split.images.shape[0] == len(split) == len(split.labels) > 0
    assert derived.labels.max() <= 1


def test_view_taken_before_stays_readable_while_the_rest_is_sealed() -> None:
    data = prepared()
    view = data.view("retain", (2,))
    open_rows = rows(view)
    with data.sealed():
        assert rows(view) == open_rows
        assert set(view.labels.tolist()) == {0, 1, 3, 4}
        assert len(next(view.batches(4, torch.Generator()))[1]) == 4
        with pytest.raises(DataContractError):
            _ = data.train.images


def test_unseals_after_an_exception() -> None:
    data = prepared()
    with pytest.raises(ZeroDivisionError), data.sealed():
        raise ZeroDivisionError
    assert rows(data.test) == list(range(100, 100 + TEST))


def test_two_data_sets_are_sealed_apart() -> None:
    closed, other = prepared(), prepared()
    with closed.sealed():
        assert len(rows(other.train)) == 40


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(1, [1] * 50), (7, [7] * 6 + [8]), (25, [25, 25]), (50, [50]), (64, [50])],
)
def test_batches_cover_every_row_exactly_once(size: int, sizes: list[int]) -> None:
    train = prepared(validation=0.0).train
    batches = list(train.batches(size, torch.Generator().manual_seed(0)))
    seen = [int(v) for images, _ in batches for v in (images[:, 0, 0, 0] * 255).round()]
    assert sorted(seen) == list(range(TRAIN))
    assert [len(labels) for _, labels in batches] == sizes
    labels = [int(label) for _, batch in batches for label in batch]
    assert labels == [row * 7 % CLASSES for row in seen]


def test_batches_are_shuffled_by_their_generator_alone() -> None:
    train = prepared(validation=0.0).train

    def order(seed: int) -> list[int]:
        batches = train.batches(16, torch.Generator().manual_seed(seed))
        return [int(v) for images, _ in batches for v in (images[:, 0, 0, 0] * 255).round()]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != rows(train)
    generator = torch.Generator().manual_seed(0)
    epochs = [[len(b) for _, b in train.batches(16, generator)] for _ in range(2)]
    assert epochs == [[16, 16, 16, 2]] * 2


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_another_seeds_training_rows_are_those_of_its_own_run(validation: float) -> None:
    here, there = prepared(seed=3, validation=validation), prepared(seed=4, validation=validation)
    redrawn = here.train_drawn_by(4)
    assert rows(redrawn) == rows(there.train) != rows(here.train)
    assert torch.equal(redrawn.labels, there.train.labels)
    with here.sealed(), pytest.raises(DataContractError):
        _ = redrawn.images
