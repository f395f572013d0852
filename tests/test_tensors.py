"""Splits, normalisation, views by access, and the seal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unlearn.data.source import RawImages
from unlearn.data.tensors import Data, DataContractError, prepare

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (100, 3, 4, 4), generator=GENERATOR, dtype=torch.uint8)
RAW = RawImages(IMAGES, torch.arange(100) % 5, IMAGES[:20], torch.arange(20) % 5)
MEAN, STD = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)


def prepared(seed: int = 0, validation: float = 0.2) -> Data:
    return prepare(
        RAW,
        num_classes=5,
        mean=MEAN,
        std=STD,
        validation=validation,
        seed=seed,
        device=torch.device("cpu"),
    )


def test_normalisation_against_numpy() -> None:
    expected = IMAGES[:20].numpy() / 255
    expected = (expected - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    np.testing.assert_allclose(prepared().test.images, expected, rtol=1e-5, atol=1e-6)


def test_validation_is_carved_from_train_by_seed() -> None:
    def rows(images: torch.Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    first, same, other = prepared(0), prepared(0), prepared(1)
    assert len(first.train) == 80
    assert len(first.validation) == 20
    assert not rows(first.train.images) & rows(first.validation.images)
    everything = rows(prepared(validation=0.0).train.images)
    assert rows(first.train.images) | rows(first.validation.images) == everything
    assert torch.equal(first.train.images, same.train.images)
    assert rows(first.validation.images) != rows(other.validation.images)
    assert first.fingerprint == other.fingerprint


def test_views_hold_what_the_access_grants() -> None:
    data = prepared()
    assert data.view("none", (0, 1)) is None
    assert data.view("oracle", (0, 1)) is None
    for access, classes in (("forget", {0, 1}), ("retain", {2, 3, 4}), ("all", {0, 1, 2, 3, 4})):
        view = data.view(access, (0, 1))  # type: ignore[arg-type]
        assert view is not None
        assert set(view.labels.tolist()) == classes
        wanted = torch.isin(data.train.labels, torch.tensor(sorted(classes)))
        assert torch.equal(view.images, data.train.images[wanted])


def test_sealed_data_cannot_be_read_but_a_granted_view_can() -> None:
    data = prepared()
    view = data.view("retain", (0,))
    assert view is not None
    order = torch.Generator().manual_seed(0)
    with data.sealed():
        for split in (data.train, data.validation, data.test):
            with pytest.raises(DataContractError):
                _ = split.images
            with pytest.raises(DataContractError):
                _ = split.labels
            with pytest.raises(DataContractError):
                split.only((0,))
            with pytest.raises(DataContractError):
                next(split.batches(4, order))
        assert len(view.images) == len(view.labels)
    assert len(data.train.images) == 80


def test_the_seal_opens_again_after_an_error() -> None:
    data = prepared()
    with pytest.raises(ZeroDivisionError), data.sealed():
        _ = 1 / 0
    assert len(data.test.images) == 20


def test_an_epoch_covers_every_row_once() -> None:
    data = prepared()
    batches = list(data.train.batches(32, torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in batches] == [32, 32, 16]
    seen = torch.cat([images for images, _ in batches])
    assert not torch.equal(seen, data.train.images)
    order = seen.flatten(1)[:, 0].sort().values
    assert torch.equal(order, data.train.images.flatten(1)[:, 0].sort().values)
