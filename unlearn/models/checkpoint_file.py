"""Reads checkpoint files: safetensors and torch files. Code in a file is refused, never run."""

import argparse
import json
import pathlib
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError, safe_open

from unlearn.errors import ConfigError, first_line

KEY = "model.checkpoint"
_MOST_UNPACKED = 20  # times the size of a file


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint file holds.

    Args:
        values: The content: a state dict, or a dictionary that holds one.
        suffix: The file's suffix, as in `.safetensors`.
        metadata: Texts in the header of a safetensors file; None if there are none.
        zipped: False for a torch file in the format that was usual before torch 1.6.
        companions: Small files beside the weights in a Hugging Face folder, as `config.json`.
    """

    values: dict[str, Any]
    suffix: str
    metadata: dict[str, str] | None = None
    zipped: bool = True
    companions: tuple[Path, ...] = ()


def read_file(path: str) -> CheckpointFile:
    """Read a checkpoint onto the CPU.

    Torch files are read with `weights_only=True`. Besides tensors and plain Python values they may
    hold NumPy scalars and arrays, paths and `argparse.Namespace`.

    Args:
        path: A safetensors file, a torch file, or a Hugging Face folder; `~` is the user's home.

    Raises:
        ConfigError: Naming `model.checkpoint` if the file is missing, damaged or unsafe.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return _read_folder(file, path)
    if not file.is_file():
        raise ConfigError(KEY, path, f"no such file; looked at {file.absolute()}")
    try:
        if file.suffix == ".safetensors":
            return _read_safetensors(file)
        _check_size(file)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_safe_globals()):
            warnings.simplefilter("ignore")  # of the pickle protocol: what is unsafe is refused
            values = torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ConfigError(KEY, path, f"not a readable safetensors file ({error})") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        known = _recognise(file)
        if known is not None:
            raise ConfigError(KEY, path, known) from error
        if isinstance(error, pickle.UnpicklingError):
            raise ConfigError(KEY, path, _describe_unsafe(str(error))) from error
        detail = f"truncated or not a torch checkpoint ({first_line(error)})"
        raise ConfigError(KEY, path, detail) from error
    if not isinstance(values, dict):
        found = f"it holds an object of type {type(values).__name__}"
        raise ConfigError(KEY, path, f"must hold a state dict: names mapped to tensors; {found}")
    return CheckpointFile(values, file.suffix or ".pt", zipped=zipfile.is_zipfile(file))


def _check_size(file: Path) -> None:
    """Raise `ValueError` for an archive that unpacks to much more; torch packs nothing."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _MOST_UNPACKED * file.stat().st_size:
            raise ValueError(f"{file.stat().st_size} bytes that unpack to {size}")


def _read_folder(folder: Path, path: str) -> CheckpointFile:
    """Read the weights in a Hugging Face folder: one file, or several with an index."""
    companions = tuple(
        file for file in sorted(folder.glob("*.json")) if not file.name.endswith(".index.json")
    )
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return replace(read_file(str(folder / name)), companions=companions)
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            parts = [read_file(str(folder / part)) for part in names]
            values = {key: value for part in parts for key, value in part.values.items()}
            return replace(parts[0], values=values, companions=companions)
    detail = f"no such file: the folder {folder.absolute()} holds neither model.safetensors nor"
    raise ConfigError(KEY, path, f"{detail} pytorch_model.bin")


def _read_safetensors(file: Path) -> CheckpointFile:
    with safe_open(file, "pt") as opened:
        values = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return CheckpointFile(values, file.suffix, opened.metadata())


def _safe_globals() -> list[Any]:
    """Return the types that a torch file may hold besides torch's own; building one runs no code.

    NumPy 2 has moved the functions that rebuild scalars and arrays: both paths are allowed.
    """
    scalar, array = numpy.float64(0).__reduce__()[0], numpy.zeros(1).__reduce__()[0]
    moved = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((scalar, "scalar"), (array, "_reconstruct"))
        for core in ("core", "_core")
    ]
    dtypes = [type(numpy.dtype(code)) for code in "?bBhHiIlLqQefdgFDSUM"]
    paths = [pathlib.Path, pathlib.PosixPath, pathlib.PurePosixPath]
    return [*moved, numpy.ndarray, numpy.dtype, *dtypes, *paths, argparse.Namespace]


_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights; fetch them with git lfs pull",
    b"<": "a web page, not the weights; download the file itself",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"\x89HDF": "an HDF5 file of Keras or TensorFlow; allowed are torch files and safetensors",
}  # by their first bytes


def _recognise(file: Path) -> str | None:
    """Say what a file is that is no checkpoint of torch; None if that is not known."""
    with file.open("rb") as stream:
        start = stream.read(32).lstrip()
    for first, meaning in _OTHERS.items():
        if start.startswith(first):
            return meaning
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                return "a TorchScript file; save the state dict of the network instead"
    return None


def _describe_unsafe(error: str) -> str:
    """Say why torch refused a pickle, and name the Python object that it refused if it does."""
    found = re.search(r"GLOBAL ([\w.]+)", error)
    named = f" ({found[1]})" if found else ""
    return (
        f"damaged, or holds Python objects{named} that could run code; "
        "save a plain state dict instead"
    )
