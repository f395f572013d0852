"""Device, precision, memory format and determinism are what the config says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.helpers.methods import build
from tests.helpers.tiny import MakeRequest
from unlearn.config.schema import HardwareConfig
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.hardware import Hardware
from unlearn.models.allcnn import AllCNN


def started(shape: tuple[int, int, int] = (3, 32, 32), **changes: Any) -> Hardware:
    plain = {
        "device": "cpu",
        "autocast": None,
        "channels_last": False,
        "compile": False,
        "threads": None,
        "deterministic": True,
    }
    return Hardware.start(HardwareConfig.model_validate({**plain, **changes}), shape)


def test_auto_is_the_gpu_if_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert started(device="auto").device.type == expected


@pytest.mark.parametrize(
    ("shape", "flags", "pays"),
    [
        ((3, 32, 32), "avx512f avx512_bf16", True),
        ((3, 64, 48), "amx_bf16 amx_tile", True),
        ((3, 32, 32), "avx512f avx2", False),
        ((1, 32, 32), "avx512_bf16", False),
        ((3, 28, 32), "avx512_bf16", False),
    ],
)
def test_auto_is_bfloat16_for_large_images_on_processors_that_have_it(
    shape: tuple[int, int, int],
    flags: str,
    pays: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\nflags\t\t: {flags}\n")
    monkeypatch.setattr("unlearn.hardware.Path", lambda _: file)
    chosen = started(shape, autocast="auto", channels_last="auto").describe()
    assert (chosen["precision"], chosen["channels_last"]) == (
        "bfloat16" if pays else "float32",
        pays,
    )
    typed = started(shape, autocast=None, channels_last=True).describe()
    assert (typed["precision"], typed["channels_last"]) == ("float32", True)


def test_threads_and_determinism_are_applied() -> None:
    before = torch.get_num_threads()
    try:
        started(threads=1)
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        started(threads=1, deterministic=False)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_autocast_computes_convolutions_in_the_lower_precision() -> None:
    hardware = started(autocast="bfloat16")
    network, images = nn.Conv2d(1, 2, 3), torch.randn(2, 1, 8, 8)
    with hardware.autocast():
        assert network(images).dtype == torch.bfloat16
    with started().autocast():
        assert network(images).dtype == torch.float32


def test_channels_last_reaches_weights_and_images_and_keeps_the_answers() -> None:
    torch.manual_seed(0)
    network, images = AllCNN(3, 10, 0.1).eval(), torch.randn(4, 3, 16, 16)
    expected = network(images)
    hardware = started(channels_last=True)
    placed = hardware.place(network)
    laid_out = hardware.layout(images)
    weights = placed.get_submodule("blocks.1.0").weight
    assert weights.is_contiguous(memory_format=torch.channels_last)
    assert laid_out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(placed(laid_out), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_loss_has_the_same_gradients(make_request: MakeRequest) -> None:
    """GKT's three functions, attention taps and gate in them: one graph each, no break."""
    torch.manual_seed(0)
    method = build(
        "gkt", batch_size=8, learning_rate=0.001, generator_learning_rate=0.001, clip=5.0
    )
    students = []
    for compiled in (False, True):
        gate = Product({"gate": ForgetGate(0.4)})
        request = make_request(filter=gate, hardware=started(compile=compiled))
        counters.clear()
        *_, state = method.unlearn(request, None)
        students.append(state.student)
        assert not counters["graph_break"]
        assert counters["stats"]["unique_graphs"] == (3 if compiled else 0)
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
