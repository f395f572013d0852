"""Supervised training of small networks."""

import pytest
import torch

from tests.helpers.tiny import CPU, seeded_net, trained
from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Data
from unlearn.errors import RunError
from unlearn.evaluation.accuracy import measure_accuracy
from unlearn.resume import Progress
from unlearn.training.supervised import train


def test_training_learns_and_repeats_by_seed(easy_data: Data) -> None:
    first, again = (trained(easy_data.train, (0, 1, 2, 3), 1) for _ in range(2))
    found = measure_accuracy(first, easy_data.test, (0,), CPU)
    assert found["retain"] >= 95
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_muon_with_augmentation_learns(easy_data: Data) -> None:
    values = {"seed": 0, "epochs": 12, "batch_size": 50, "optimizer": "muon", "weight_decay": 0.001}
    values |= {"learning_rate": 0.02, "augment": {"crop": 1}, "label_smoothing": 0.1}
    network = seeded_net(1)
    list(train(network, easy_data.train, TrainingConfig.model_validate(values), CPU, Progress()))
    assert (measure_accuracy(network, easy_data.test, (0,), CPU)["retain"] or 0) >= 95


def test_training_stops_on_a_loss_that_is_not_finite(easy_data: Data) -> None:
    settings = TrainingConfig(
        seed=0, epochs=3, batch_size=50, optimizer="sgd", learning_rate=1e38, weight_decay=0.0
    )
    with pytest.raises(RunError, match=r"training\.learning_rate"):
        list(train(seeded_net(1), easy_data.train, settings, CPU, Progress()))
