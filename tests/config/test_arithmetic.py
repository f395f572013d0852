"""hardware=auto: the choice follows from the machine and the images, and stands in the config."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose

from unlearn.config import arithmetic
from unlearn.config.arithmetic import choose_arithmetic, multiplies_in_bfloat16
from unlearn.config.hashing import config_hash
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import HardwareConfig

AUTO = {"autocast": "auto", "channels_last": "auto", "threads": 2}
CIFAR = ["dataset=cifar10", "dataset.root=x", "model=resnet20"]


@pytest.mark.parametrize(
    ("shape", "fast", "pays"),
    [
        ([3, 32, 32], True, True),
        ((3, 64, 48), True, True),
        ([3, 32, 32], False, False),
        ([1, 32, 32], True, False),
        ([3, 28, 32], True, False),
        ([1, 8, 8], True, False),
        ("3,32,32", True, False),
        (None, True, False),
    ],
)
def test_bfloat16_is_chosen_for_colour_images_of_32_pixels(
    shape: object, fast: bool, pays: bool
) -> None:
    chosen = choose_arithmetic(AUTO, shape, fast)
    expected = {"autocast": "bfloat16" if pays else None, "channels_last": pays, "threads": 2}
    assert chosen == expected


def test_what_was_typed_is_kept() -> None:
    typed = {"autocast": None, "channels_last": True}
    assert choose_arithmetic(typed, (3, 32, 32), fast=True) == typed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("fpu avx512f avx2", False)],
)
def test_the_processor_is_asked(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\nflags\t\t: {flags}\n")
    monkeypatch.setattr(arithmetic, "Path", lambda name: file if name == "/proc/cpuinfo" else None)
    assert multiplies_in_bfloat16("cpu") is expected


@pytest.mark.usefixtures("composing")
def test_the_record_of_a_run_says_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {}
    for fast in (False, True):
        monkeypatch.setattr(
            "unlearn.config.resolve.multiplies_in_bfloat16", lambda device, fast=fast: fast
        )
        for name, words in {"digits": [], "cifar": CIFAR}.items():
            config = resolve_config(compose("config", overrides=words), words)
            big = fast and name == "cifar"
            hardware: HardwareConfig = config.hardware
            assert (hardware.autocast, hardware.channels_last) == ("bfloat16" if big else None, big)
            hashes[name, fast] = config_hash(config, None)
    assert hashes["digits", False] == hashes["digits", True]
    assert hashes["cifar", False] != hashes["cifar", True]
