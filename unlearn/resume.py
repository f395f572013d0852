"""Resuming of killed runs: the state of a loop is stored in a file and restored from it."""

import copy
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.errors import is_disk_full, say
from unlearn.files import replace_file, report_damage

_SHARE = 0.05  # of the time between two checkpoints that writing one may take


@dataclass
class Progress:
    """The state of the loops of a method or of a training.

    A loop over `steps` lists what it changes. The caller sets `wanted` between two steps, and
    finds the state at the end of the next step in `taken`. Passed as `saved` to the same program,
    it lets every loop continue from there, to the same result bit for bit.

    Args:
        saved: State that an earlier attempt had `taken`.
        wanted: Whether to take the state at the end of the next step.
        taken: The state taken last, until the caller sets it back to None.
    """

    saved: dict[str, Any] = field(default_factory=dict)
    wanted: bool = False
    taken: dict[str, Any] | None = None
    _open: list[str] = field(default_factory=list)
    _outer: set[str] = field(default_factory=set)  # loops that hold loops
    _reached: dict[str, Any] = field(default_factory=dict)

    def steps(self, name: str, total: int, parts: Callable[[], Mapping[str, Any]]) -> Iterator[int]:
        """Yield the steps of a loop that are not done yet, 1 to `total`.

        Args:
            name: Name of the loop, unique among the loops of one body; loops may be nested.
            total: Number of steps.
            parts: Everything that the body changes and needs again: modules (with their train or
                eval modes), optimisers, schedules, `torch.Generator`s, tensors that change in
                place, dicts of plain values, and lists of plain values or finished tensors.
        """
        self._outer.add("/".join(self._open))
        path = "/".join([*self._open, name])
        done = 0
        if path in self.saved:
            self._reached[path] = self.saved.pop(path)
            done = self._reached[path]["step"]
            restore(parts(), self._reached[path]["parts"])
            _set_random_state(self._reached[path]["random"])
        self._open.append(name)
        for step in range(done + 1, total + 1):
            yield step
            self._finished(path, step, parts, last=step == total)
        self._open.pop()

    def _finished(
        self, path: str, step: int, parts: Callable[[], Mapping[str, Any]], last: bool
    ) -> None:
        inner = f"{path}/"
        self._reached = {p: r for p, r in self._reached.items() if not p.startswith(inner)}
        if self.wanted or last or path in self._outer:
            state = {"step": step, "parts": snapshot(parts()), "random": _random_state()}
            self._reached[path] = state
        if self.wanted:
            self.taken, self.wanted = dict(self._reached), False


def snapshot(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the state of each part, as plain values and tensors."""
    return {name: _state(part) for name, part in parts.items()}


def restore(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Put parts back into the state that `snapshot` copied, in place."""
    for name, part in parts.items():
        _set_state(part, states[name])


def _state(part: Any) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, Tensor):
        return part.detach().clone()
    if isinstance(part, list):
        return list(part)  # finished tensors and plain values do not change: they need no copy
    if isinstance(part, nn.Module):
        modes = [module.training for module in part.modules()]
        return {"weights": copy.deepcopy(dict(part.state_dict())), "training": modes}
    return copy.deepcopy(dict(part) if isinstance(part, Mapping) else part.state_dict())


@torch.no_grad()
def _set_state(part: Any, state: Any) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state)
    elif isinstance(part, Tensor):
        part.copy_(state)
    elif isinstance(part, list):
        part[:] = state
    elif isinstance(part, nn.Module):
        part.load_state_dict(state["weights"])
        for module, training in zip(part.modules(), state["training"], strict=True):
            module.training = training
    elif isinstance(part, dict):
        part.clear()
        part.update(state)
    else:
        part.load_state_dict(state)


def _random_state() -> list[Tensor]:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]


def _set_random_state(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


class Interruption:
    """A request to stop at the next checkpoint, made by a signal handler."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None

    @property
    def requested(self) -> bool:
        """Whether the program is to stop."""
        return self._stop is not None

    def request(self, stop: Callable[[], None]) -> None:
        """Ask to stop.

        Args:
            stop: Stops the program; called after the next checkpoint.
        """
        self._stop = stop

    def carry_out(self) -> None:
        """Stop, if that was requested."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


interruption = Interruption()


class ResumeFile:
    """The file that holds the last state of a run; it is replaced as a whole.

    Args:
        path: Path of the file.
        every: Seconds between two checkpoints, more if writing is slow; None: no checkpoints.
        versions: Versions of the program; a file of other versions is ignored.
    """

    def __init__(self, path: Path, every: float | None, versions: Mapping[str, Any]) -> None:
        self.path, self.every, self.versions = path, every, dict(versions)
        self._at, self._cost = time.monotonic(), 0.0
        self._warned = False

    def load(self) -> dict[str, Any] | None:
        """Return the last state, or None if this program cannot continue from one."""
        if not self.path.exists():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:  # torch does not check the sums itself
                if part := archive.testzip():
                    raise ValueError(f"{part} has another CRC-32 than was written")
            kept = torch.load(self.path, weights_only=True)
            versions, stages = kept["versions"], kept["stages"]
        except Exception as error:  # whatever the bytes of a damaged file happen to mean
            reason = f"cannot be read: {str(error).partition(chr(10))[0] or type(error).__name__}"
            report_damage(self.path, reason, "what it kept is done again")
            return None
        return dict(kept) if versions == self.versions and isinstance(stages, dict) else None

    def keep(self, progress: Progress, **beside: Any) -> None:
        """Write the taken state, with further values; request the next state if it is due.

        If it cannot be written, the previous file stays and the run goes on.
        """
        if self.every is None:
            interruption.carry_out()
            return
        start = time.monotonic()
        if progress.taken is not None:
            values = {"stages": progress.taken, "versions": self.versions, **beside}
            try:
                self._write(values)
            except (OSError, RuntimeError) as error:
                self._warn(error)
            progress.taken = None
            self._at = time.monotonic()
            self._cost = self._at - start
            interruption.carry_out()
        due = start - self._at >= max(self.every, self._cost / _SHARE)
        progress.wanted = due or interruption.requested

    def _write(self, values: dict[str, Any]) -> None:
        def save(path: Path) -> None:
            with path.open("wb") as file:  # torch hides the cause of an error if it opens the file
                torch.save(values, file)

        replace_file(self.path, save)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            reason = "the disk is full" if is_disk_full(error) else str(error)
            say(f"{self.path}: no checkpoint can be written ({reason}); the run goes on")
        self._warned = True

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
