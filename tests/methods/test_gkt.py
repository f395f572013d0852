"""GKT: its losses against NumPy, its counts, and each switch of the published code's faults."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from tests.helpers.methods import build, run, student_of
from tests.helpers.reference import masked_divergence
from tests.helpers.tiny import CPU, MakeRequest, seeded_net
from unlearn.errors import RunError
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.hardware import Hardware
from unlearn.methods.gkt import GKTTrainer
from unlearn.protocol import Observed

method = partial(
    build,
    "gkt",
    learning_rate=0.01,
    generator_learning_rate=0.01,
    clip=5.0,
    temperature=0.5,
)


def attention(activations: Tensor) -> NDArray[np.float64]:
    maps = (activations.detach().double().numpy() ** 2).mean(axis=1).reshape(len(activations), -1)
    unit: NDArray[np.float64] = maps / np.linalg.norm(maps, axis=1, keepdims=True)
    return unit


def test_the_student_loss_is_gated_kl_plus_beta_attention(make_request: MakeRequest) -> None:
    request = make_request(filter=Product({"gate": ForgetGate(0.24)}))
    with GKTTrainer(method(), request) as trainer:
        teacher, student = request.teacher, trainer.student
        batch = trainer.synthesise(trainer.draw_noise())
        images = batch.images
        with torch.no_grad():
            inner = student.first(images)
            student_maps = [attention(inner), attention(student.second(inner))]
            inner = teacher.first(images)
            teacher_maps = [attention(inner), attention(teacher.second(inner))]
            student_logits = student(images)
            teacher_logits = teacher(images)
        loss, _ = trainer.student_loss(batch)
        scalars = trainer.student_step(batch)

    keep = special.softmax(teacher_logits.numpy(), axis=1)[:, 0] <= 0.24
    assert 0 < keep.sum() < len(keep), "the gate must split the batch for this test to say anything"
    expected = masked_divergence(teacher_logits, student_logits, keep, 0.5)
    assert scalars["divergence"].item() == pytest.approx(expected, rel=1e-4)
    difference = sum(
        ((t[keep] - s[keep]) ** 2).mean() for t, s in zip(teacher_maps, student_maps, strict=True)
    )
    assert scalars["attention"].item() == pytest.approx(difference, rel=1e-3)
    weight = trainer.method.attention_weight
    assert weight > 0
    assert loss.item() == pytest.approx(expected + weight * difference, rel=1e-3)


def test_generator_ascends_the_divergence(make_request: MakeRequest) -> None:
    """A small step on the generator raises KL on the same noise; its gradient is clipped."""
    request = make_request()
    trainer = GKTTrainer(method(generator_learning_rate=1e-4, clip=0.01), request)
    noise = trainer.draw_noise()
    generator, student = trainer.generator, trainer.student

    def divergence() -> float:
        with torch.no_grad():
            images = generator(noise)
            taught, learned = request.teacher(images), student(images)
        return masked_divergence(taught, learned, temperature=0.5)

    before = divergence()
    for _ in range(5):
        trainer.generator_step(noise)
    assert divergence() > before
    norms = [p.grad.norm() for p in generator.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert all(p.grad is None for p in student.parameters())


def test_batch_norm_frozen_train_and_published(make_request: MakeRequest) -> None:
    def statistics(network: torch.nn.Module) -> Tensor:
        return network.get_buffer("first.1.running_mean").clone()

    taught = statistics(make_request().teacher)
    frozen, trained = (
        student_of(run(method(batch_norm=mode), make_request())) for mode in ("frozen", "train")
    )
    assert torch.equal(statistics(frozen), taught)
    assert not torch.equal(statistics(trained), taught)

    steps = method(batch_norm="published", iterations=4).unlearn(make_request(), None)
    student = next(steps).student
    first = statistics(student)
    assert not torch.equal(first, taught)
    for _ in steps:
        assert torch.equal(statistics(student), first), "frozen after one iteration, nobody looking"


def test_schedules_cosine_and_published(make_request: MakeRequest) -> None:
    request = make_request()
    with GKTTrainer(method(iterations=4), request) as trainer:
        for _ in range(4):
            noise = trainer.draw_noise()
            trainer.generator_step(noise)
            trainer.student_step(trainer.synthesise(noise))
            trainer.observe(None)
    assert trainer.student_optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)

    trainer = GKTTrainer(method(schedule="published"), make_request())
    for retain in (50.0, 60.0, 70.0, 80.0):
        trainer.observe(Observed(retain, 0.0))
    assert trainer.student_optimizer.param_groups[0]["lr"] == 0.01, "it still rises"
    assert trainer.generator_optimizer.param_groups[0]["lr"] == 0.005, "its score is a constant"
    for _ in range(3):
        trainer.observe(Observed(10.0, 0.0))
    assert trainer.student_optimizer.param_groups[0]["lr"] == 0.005
    trainer.observe(None)
    assert trainer.student_optimizer.param_groups[0]["lr"] == 0.005


def test_oracle_selection_restores_the_best_student(
    make_request: MakeRequest,
) -> None:
    told = [Observed(40.0, 0.0), Observed(60.0, 0.0), Observed(90.0, 5.0), Observed(50.0, 0.0)]
    steps = method(selection="oracle").unlearn(make_request(), None)
    seen, answer = [], None
    while True:
        try:
            state = steps.send(answer)
        except StopIteration:
            break
        seen.append({k: v.clone() for k, v in state.student.state_dict().items()})
        answer = told[min(len(seen), len(told)) - 1]
    assert len(seen) == 5
    for key, value in seen[-1].items():
        assert torch.equal(value, seen[1][key])


@pytest.mark.parametrize(
    ("changes", "access"),
    [({}, "none"), ({"schedule": "published"}, "oracle"), ({"selection": "oracle"}, "oracle")],
)
def test_access_is_oracle_if_accuracies_steer(changes: dict[str, str], access: str) -> None:
    assert method(**changes).access == access


def test_an_empty_filter_gets_three_fresh_generators(
    make_request: MakeRequest,
) -> None:
    request = make_request(filter=Product({"gate": ForgetGate(0.0)}))
    with pytest.raises(RunError, match=r"3 fresh generators"):
        run(method(iterations=200, student_steps=1), request)


def test_the_start_is_the_share_of_the_teacher(make_request: MakeRequest) -> None:
    request = make_request()
    teacher, fresh = request.teacher.state_dict(), seeded_net(2).state_dict()
    for share in (0.0, 0.3, 1.0):
        start = GKTTrainer(method(start=share), request).student.state_dict()
        weight = share * teacher["head.weight"] + (1 - share) * fresh["head.weight"]
        torch.testing.assert_close(start["head.weight"], weight)
        kept = (teacher if share else fresh)["first.1.running_mean"]
        assert torch.equal(start["first.1.running_mean"], kept)


def test_one_seed_one_student_and_the_teacher_is_untouched(make_request: MakeRequest) -> None:
    students = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        request = make_request(seed=seed)
        before = {k: v.clone() for k, v in request.teacher.state_dict().items()}
        students.append(student_of(run(method(), request)).state_dict())
        assert all(torch.equal(v, before[k]) for k, v in request.teacher.state_dict().items())
    assert all(torch.equal(students[0][k], students[1][k]) for k in students[0])
    assert not torch.equal(students[0]["head.weight"], students[2]["head.weight"])


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_a_student_step_in_bfloat16_goes_the_way_of_float32(
    make_request: MakeRequest, batch_norm: str
) -> None:
    """Frozen batch norm is folded into the convolutions in bfloat16, and left alone in float32."""
    fast = Hardware(torch.device("cpu"), torch.bfloat16, channels_last=True)
    found, batch = [], None
    for hardware in (CPU, fast):
        method = build("gkt", batch_norm=batch_norm, batch_size=64)
        with GKTTrainer(method, make_request(hardware=hardware)) as trainer:
            batch = batch or trainer.synthesise(trainer.draw_noise())
            with trainer.folded:
                loss, terms = trainer.student_loss(batch)
            loss.backward()
            gradients = [p.grad for p in trainer.student.parameters()]
        found.append((terms, torch.cat([g.flatten() for g in gradients if g is not None])))
    (plain, exact), (rounded_terms, rounded) = found
    for name, value in plain.items():
        assert rounded_terms[name].item() == pytest.approx(value.item(), rel=0.05, abs=1e-5)
    assert torch.cosine_similarity(rounded, exact, dim=0) > 0.98
