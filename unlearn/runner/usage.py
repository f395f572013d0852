"""What a method takes: real rows and their labels, test accuracies, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from unlearn.data.ledger import Ledger
from unlearn.data.tensors import Access, Data, Split
from unlearn.protocol import Observed
from unlearn.runner.memory import PeakMemory


@dataclass
class Usage:
    """Kept by the runner from when the method begins, through cuts, to when it ends.

    Args:
        data: None if there is none.
        device: on which tensors are.
        told: how often the method was told test accuracies of its student.
    """

    data: Data | None
    device: torch.device
    told: int = 0
    memory: PeakMemory = field(init=False)
    ledger: Ledger | None = field(init=False)

    def __post_init__(self) -> None:
        self.memory = PeakMemory(self.device)
        self.ledger = None if self.data is None else self.data.blank_ledger()

    def view(self, access: Access, forget: tuple[int, ...]) -> Split | None:
        """The training rows that the access grants; what is read of them is counted."""
        return None if self.data is None else self.data.view(access, forget, self.ledger)

    def tell(self, seen: Mapping[str, Any]) -> Observed:
        """The accuracies that a look has shown, counted as told."""
        self.told += 1
        return Observed(seen["retain"], seen["forget"])

    def plain(self) -> dict[str, Any]:
        """What it holds so far, to be kept for a run that is cut off."""
        ledger = None if self.ledger is None else self.ledger.plain()
        return {"told": self.told, "memory": self.memory.plain(), "ledger": ledger}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Go on from what an earlier attempt kept."""
        self.told = kept["told"]
        self.memory.take_up(kept["memory"])
        if self.ledger is not None:
            self.ledger.take_up(kept["ledger"])

    def figures(self) -> dict[str, Any]:
        """The record's entries; no data is to be sealed."""
        counts: dict[str, Any] = {"told": self.told}
        if self.ledger is not None and self.data is not None:
            counts |= self.ledger.counts(self.data.train.labels, self.data.num_classes)
        return {"ledger": counts, "peak_memory": self.memory.plain()}
