"""Whether the numbers of a checkpoint can be a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    if tensor.is_floating_point():
        return "floating point"
    return "bool" if tensor.dtype is torch.bool else "integer"


def fits_type(values: Tensor, dtype: torch.dtype) -> bool:
    """Return whether another type can hold all numbers; infinite ones and NaN are left out."""
    if dtype.is_floating_point:
        wide = values.double()
        return bool((wide.abs() <= torch.finfo(dtype).max)[wide.isfinite()].all())
    return bool((values.to(dtype).to(values.dtype) == values).all())


def find_bad_value(
    names: Mapping[str, str], state: Mapping[str, Any], expected: Mapping[str, Any]
) -> str | None:
    """Return what is wrong with the first tensor whose values cannot be a weight's, if any is.

    Args:
        names: The network's name for each name in the checkpoint.
        state: The state dict of the checkpoint.
        expected: The network's own.
    """
    for given, name in names.items():
        value, wanted = state[given], expected.get(name)
        if not isinstance(value, Tensor) or not isinstance(wanted, Tensor):
            continue
        if _kind(value) != _kind(wanted):
            return f"{given} is {value.dtype}, must be {_kind(wanted)} as {wanted.dtype}"
        if value.shape != wanted.shape:
            continue
        wide = value.float() if value.element_size() == 1 else value  # float8 cannot be compared
        if wanted.is_floating_point():
            usual = wide.isfinite() | (wide == wanted.to(value.device))
            if not usual.all():
                return f"{given} holds NaN or infinite values"
        if name.rpartition(".")[2] == "running_var" and (wide < 0).any():
            return f"{given} holds negative variances"
        if not fits_type(value, wanted.dtype):
            return (
                f"{given} holds {wide.double().abs().max():.3g}, which {wanted.dtype} cannot hold"
            )
    return None
