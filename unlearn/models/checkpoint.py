"""Checkpoints: the user's (safetensors or a state dict) in, the same format out."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlearn.errors import ConfigError, say

KEY = "model.checkpoint"
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class CheckpointFormat:
    """How a checkpoint was laid out, so that the unlearned one can be laid out alike."""

    suffix: str = ".safetensors"
    wrapper: str | None = None
    prefix: str = ""
    rest: dict[str, Any] = field(default_factory=dict)

    def save(self, network: nn.Module, path: Path) -> None:
        """Write the network's state to `path` in this format."""
        state = {
            self.prefix + name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in network.state_dict().items()
        }
        if self.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({**self.rest, self.wrapper: state} if self.wrapper else state, path)


def load_into(network: nn.Module, path: str) -> CheckpointFormat:
    """Load the weights at `path` into a network of the same architecture.

    Accepts a .safetensors file or a torch file that holds a state dict, bare or under
    `state_dict`, `model_state_dict` or `model`, with or without DataParallel's `module.` prefix.
    Torch files are read with `weights_only=True`: code in a pickle is refused, never run.

    Raises:
        ConfigError: naming `model.checkpoint` if the file is missing, damaged, unsafe, or does
            not fit the network.
    """
    content = _read(path)
    wrapper = next((w for w in _WRAPPERS if isinstance(content.get(w), dict)), None)
    state: dict[str, Any] = content[wrapper] if wrapper else content
    if not state or not all(_is_weight(name, value) for name, value in state.items()):
        raise ConfigError(KEY, path, "must hold a state dict: names mapped to tensors")
    parallel = all(name.startswith("module.") for name in state)
    prefix = "module." if parallel and not state.keys() <= network.state_dict().keys() else ""
    _check_fit(network, {name.removeprefix(prefix): t for name, t in state.items()}, path)
    network.load_state_dict({name.removeprefix(prefix): t for name, t in state.items()})
    rest = {key: value for key, value in content.items() if wrapper and key != wrapper}
    if dropped := [key for key, value in rest.items() if not _plain(value)]:
        say(f"{path}: {', '.join(dropped)} will not be in the result: it knows what is forgotten")
    return CheckpointFormat(
        suffix=Path(path).suffix or ".pt",
        wrapper=wrapper,
        prefix=prefix,
        rest={key: value for key, value in rest.items() if _plain(value)},
    )


def _plain(value: object) -> bool:
    """Whether it holds no tensor, as averages of weights and optimisers do."""
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return not isinstance(value, torch.Tensor)


def _read(path: str) -> dict[str, Any]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(KEY, path, f"no such file; looked at {file.absolute()}")
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol: what is unsafe is refused
            content = torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ConfigError(KEY, path, f"not a readable safetensors file ({error})") from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            KEY,
            path,
            "damaged, or holds Python objects that could run code; save a plain state dict instead",
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(KEY, path, f"truncated or not a torch checkpoint ({reason})") from error
    if not isinstance(content, dict):
        raise ConfigError(KEY, path, "must hold a state dict: names mapped to tensors")
    return content


def _is_weight(name: object, value: object) -> bool:
    """Whether this is an entry of a state dict: a dense tensor under a name."""
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta)
    )


def _check_fit(network: nn.Module, state: dict[str, Tensor], path: str) -> None:
    expected = network.state_dict()
    absent = sorted(expected.keys() - state.keys())
    surplus = sorted(state.keys() - expected.keys())
    if absent or surplus:
        detail = "; ".join(
            f"{word} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for word, names in (("lacks", absent), ("has unknown", surplus))
            if names
        )
        raise ConfigError(KEY, path, f"does not fit {type(network).__name__}: {detail}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            found, wanted = list(state[name].shape), list(tensor.shape)
            raise ConfigError(
                KEY,
                path,
                f"does not fit {type(network).__name__}: {name} is {found}, must be {wanted}",
            )
        if tensor.is_floating_point() and not torch.isfinite(state[name]).all():
            raise ConfigError(KEY, path, f"{name} holds NaN or infinite values")
