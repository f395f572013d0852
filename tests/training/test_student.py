"""A student's start between teacher and random, and batch norm that stands still."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.checkpoints import network, same, state
from unlearn.models.lenet import LeNet
from unlearn.models.network import freeze_batch_norm, renew_readout, shrink_and_perturb

BUFFERS = ("1.running_mean", "1.running_var", "1.num_batches_tracked")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.875, 1.0])
def test_weights_are_the_exact_convex_combination(share: float) -> None:
    teacher, fresh = network(3), network(1)
    student = shrink_and_perturb(teacher, fresh, share)
    taught, new = dict(teacher.named_parameters()), dict(fresh.named_parameters())
    names = [name for name, _ in student.named_parameters()]
    assert names == list(taught)
    assert len(names) == 6
    for name, weight in student.named_parameters():
        t, n = (source[name].detach().numpy() for source in (taught, new))
        mixed = np.float32(share) * t + np.float32(1 - share) * n
        np.testing.assert_array_equal(weight.detach().numpy(), mixed)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_buffers_are_the_teachers_unless_its_share_is_zero(share: float) -> None:
    teacher, fresh = network(3), network(1)
    student = state(shrink_and_perturb(teacher, fresh, share))
    source, other = (teacher, fresh) if share else (fresh, teacher)
    for name in BUFFERS:
        assert torch.equal(student[name], source.state_dict()[name])
        assert not torch.equal(student[name], other.state_dict()[name])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_teacher_and_fresh_are_untouched_even_by_training_the_student(share: float) -> None:
    teacher, fresh = network(3), network(1)
    before = state(teacher), state(fresh)
    student = shrink_and_perturb(teacher, fresh, share)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    start = state(student)
    student.train()(torch.randn(8, 1, 8, 8)).square().sum().backward()
    optimizer.step()
    assert not same(state(student), start)
    assert same(state(teacher), before[0])
    assert same(state(fresh), before[1])
    assert all(p.grad is None for net in (teacher, fresh) for p in net.parameters())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_student_of_a_frozen_teacher_can_be_trained(share: float) -> None:
    teacher = network(3).requires_grad_(False)
    student = shrink_and_perturb(teacher, network(1).requires_grad_(False), share)
    assert all(p.requires_grad and p.is_leaf for p in student.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())


def test_networks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        shrink_and_perturb(network(3), nn.Sequential(nn.Conv2d(1, 3, 3)), 0.5)


def test_frozen_batch_norm_uses_and_keeps_its_running_statistics() -> None:
    net = nn.Sequential(network(3)[:2], nn.Dropout(0.5)).train()
    conv, norm, dropout = net[0][0], net[0][1], net[1]
    freeze_batch_norm(net)
    assert not norm.training
    assert conv.training
    assert dropout.training
    before = state(norm)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 4
    maps = conv(images)
    found = norm(maps).detach().numpy()
    net(images)
    assert same(state(norm), before)
    mean, variance = (before[k].double().numpy() for k in ("running_mean", "running_var"))
    per_channel = (1, 3, 1, 1)
    expected = maps.detach().double().numpy() - mean.reshape(per_channel)
    expected /= np.sqrt(variance.reshape(per_channel) + norm.eps)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_frozen_batch_norm_still_learns_its_scale() -> None:
    net = network(2).train()
    freeze_batch_norm(net)
    net(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert net[1].weight.grad.abs().sum() > 0
    assert net[1].bias.grad.abs().sum() > 0


def test_every_kind_of_batch_norm_is_frozen_until_train_is_called() -> None:
    net = nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.ReLU()])
    freeze_batch_norm(net)
    assert [m.training for m in net] == [False, False, False, True]
    assert [m.training for m in copy.deepcopy(net).train()] == [True] * 4


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
def test_renewing_the_readout_changes_only_forget_rows(
    forget: tuple[int, ...],
) -> None:
    student, fresh = LeNet(1, 10, 8), LeNet(1, 10, 8)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    renew_readout(student, fresh, forget, 10)
    rows = torch.zeros(10, dtype=torch.bool)
    rows[list(forget)] = True
    for name, tensor in student.state_dict().items():
        if name.startswith("head.5."):
            assert torch.equal(tensor[rows], fresh.state_dict()[name][rows])
            assert torch.equal(tensor[~rows], before[name][~rows])
        else:
            assert torch.equal(tensor, before[name])


def test_a_network_without_a_linear_head_is_left_as_it_is() -> None:
    student, fresh = nn.Conv2d(1, 10, 3), nn.Conv2d(1, 10, 3)
    before = student.weight.detach().clone()
    renew_readout(student, fresh, (0,), 10)
    assert torch.equal(student.weight, before)
