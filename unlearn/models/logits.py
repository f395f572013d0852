"""Takes the logits out of whatever a network returns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn


def return_logits(network: nn.Module, num_classes: int) -> None:
    """Make a network return its logits alone, in place; its weights and their names stay.

    A network may return a tuple, as with auxiliary outputs; a dictionary; or an object with an
    attribute `logits`, as those of Hugging Face. The logits are `logits` if there is such an entry,
    otherwise the first tensor with one row an image and one column a class.

    Args:
        network: Any network. One that returns a tensor goes on returning it.
        num_classes: Number of logits.
    """
    network.register_forward_hook(partial(_replace_output, num_classes))


def _replace_output(
    num_classes: int, network: nn.Module, inputs: tuple[Any, ...], output: Any
) -> Any:
    if isinstance(output, Tensor):
        return None
    return find_logits(output, Tensor, lambda tensor: tensor.shape[1:] == (num_classes,))


def find_logits(
    output: Any, kind: type, suits: Callable[[Any], bool] = lambda found: True
) -> Any | None:
    """Return the first value of a kind that suits, of an output's parts; None if there is none."""
    if isinstance(output, kind):
        return output if suits(output) else None
    for part in _parts(output):
        found = find_logits(part, kind, suits)
        if found is not None:
            return found
    return None


def _parts(output: Any) -> Iterable[Any]:
    """Return the entries of an output, `logits` first."""
    if isinstance(output, Mapping):
        return _logits_first(output)
    if is_dataclass(output):
        return _logits_first({f.name: getattr(output, f.name) for f in fields(output)})
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return _logits_first(output._asdict())
    return output if isinstance(output, list | tuple) else ()


def _logits_first(entries: Mapping[Any, Any]) -> list[Any]:
    """Return the values of a dictionary in its order, but that of `logits` first."""
    return [entries[key] for key in sorted(entries, key=lambda key: key != "logits")]
