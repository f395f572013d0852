"""What only a GPU shows: bfloat16, CUDA graphs and a whole run there agree with the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.tiny import CPU, seeded_net
from unlearn.api import run
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"),
]


def place(compile_mode: str | None = None) -> Hardware:
    return Hardware(torch.device("cuda"), torch.bfloat16, True, compile_mode)


def test_bfloat16_logits_agree_with_the_cpu() -> None:
    network, images = seeded_net(0), torch.rand(32, 1, 8, 8)
    expected = CPU.run(network, images)
    hardware = place()
    found = hardware.run(hardware.place(copy_network(network)), images.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_gradients_under_cuda_graphs_are_those_of_the_plain_step() -> None:
    images, labels = torch.rand(32, 1, 8, 8).cuda(), (torch.arange(32) % 4).cuda()
    gradients = []
    for hardware in (place(), place("reduce-overhead")):
        network = hardware.place(seeded_net(0))

        def compute_loss(images: Tensor, labels: Tensor, network=network, hardware=hardware):  # type: ignore[no-untyped-def]
            return F.cross_entropy(hardware.run(network, images), labels)

        compiled = hardware.compile(compute_loss)
        for _ in range(3):  # a graph is captured, then replayed
            network.zero_grad()
            compiled(images, labels).backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    for plain, graphed in zip(*gradients, strict=True):
        torch.testing.assert_close(graphed, plain, atol=0.02, rtol=0.05)


@pytest.mark.parametrize("method", ["regrow", "masked_logit"])
def test_a_run_on_a_gpu_forgets(tmp_path: Path, method: str) -> None:
    words = [f"method={method}", "hardware=gpu", "evaluation=quick", "tracking.mode=disabled"]
    accuracy = run([*words, f"outputs={tmp_path}"]).record["accuracy"]
    assert accuracy["original"]["test"]["forget"] > 90
    assert accuracy["unlearned"]["test"]["forget"] < 5
    assert accuracy["unlearned"]["test"]["retain"] > 90
