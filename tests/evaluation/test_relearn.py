"""Relearning: counts against a plain training loop, and when counting stops."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.tiny import CPU, Networks, WrittenNet, seeded_net, write_logits
from unlearn.data.tensors import Data, Split
from unlearn.evaluation.accuracy import measure_accuracy
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.relearn import Relearn, reaches_accuracy


def make_metric(**changes: float) -> Relearn:
    settings = {"learning_rate": 0.01, "batch_size": 50, "margin": 0.05}
    return Relearn(**{**settings, "max_steps": 60, "repeats": 1, **changes})


def test_relearning_counts_batches_on_copies(networks: Networks, context: MetricContext) -> None:
    """The same count as a plain training loop over the same batches."""
    data, models = context.data, networks.models
    before = [copy.deepcopy(m.state_dict()) for _, m in models.items()]
    found = make_metric()(models, context)
    for (_, network), state in zip(models.items(), before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    original = measure_accuracy(models.original, data.test, (0,), CPU)["forget"]
    assert found["target"] == pytest.approx(0.95 * original)
    assert found["ain"] == found["unlearned_steps"] / found["retrained_steps"]
    assert found["resolution"] == 1 / found["retrained_steps"]
    assert found["censored"] is False

    network = copy.deepcopy(networks.retrained[0])
    optimizer = torch.optim.Adam(network.parameters(), 0.01, fused=True)
    order = torch.Generator().manual_seed(context.request.seed)
    test, steps, accuracy = data.test.only((0,)), 0, 0.0
    while accuracy < found["target"]:
        for rows in torch.randperm(len(data.train), generator=order).split(50):
            network.train()
            loss = F.cross_entropy(network(data.train.images[rows]), data.train.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            network.eval()
            accuracy = (network(test.images).argmax(1) == 0).float().mean().item() * 100
            if accuracy >= found["target"]:
                break
    assert steps == found["retrained_steps"] > 0


def test_counts_at_limits_and_over_repeats(networks: Networks, context: MetricContext) -> None:
    """Nothing to relearn, a limit that is reached, and a mean of four counts."""
    known = Models(networks.original, networks.retrained[0], networks.original)
    found = make_metric()(known, context)
    assert (found["unlearned_steps"], found["ain"]) == (0, 0)
    found = make_metric(max_steps=1, learning_rate=1e-6)(networks.models, context)
    assert (found["censored"], found["retrained_steps"]) == (True, 1)
    assert (found["ain"], found["resolution"]) == (None, None)
    found = make_metric(repeats=4)(networks.models, context)
    assert found["resolution"] == pytest.approx(1 / (4 * found["retrained_steps"]))
    assert (4 * found["retrained_steps"]) == int(4 * found["retrained_steps"])


@pytest.mark.parametrize(("correct", "rows"), [(9, 11), (7, 18), (25, 60), (50, 60), (60, 60)])
def test_an_accuracy_reaches_itself_whatever_its_rounding(correct: int, rows: int) -> None:
    answers = F.one_hot((torch.arange(rows) >= correct).long(), 4).float()
    split = write_logits(answers, torch.zeros(rows, dtype=torch.long))
    target = measure_accuracy(WrittenNet(), split, (0,), CPU)["forget"]
    assert reaches_accuracy(WrittenNet(), split, target, CPU)
    assert not reaches_accuracy(WrittenNet(), split, target + 50 / rows, CPU)


def test_no_more_rows_are_read_than_decide(easy_data: Data) -> None:
    """The answer is that of the whole split, from a part of it where too many rows are wrong."""
    split = Split(easy_data.test.images.repeat(4, 1, 1, 1), easy_data.test.labels.repeat(4))
    network = seeded_net(1)
    correct = 100 * (network(split.images).argmax(1) == split.labels).double().mean().item()
    assert 0 < correct < 100
    seen: list[int] = []
    network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    for target, rows in ((0.0, len(split)), (correct, len(split)), (100.0, 128)):
        seen.clear()
        assert reaches_accuracy(network, split, target, CPU) == (correct >= target)
        assert sum(seen) == rows
    assert not reaches_accuracy(network, split, correct + 1e-6, CPU)
