"""The parts that trained networks play in a run, and what their names say of them.

`teacher`; `retrained`, the reference without the forgotten classes; `reference-1`, `reference-2`,
..., further ones of the seeds that follow; `judge-1`, the teacher of the next seed.
"""

from __future__ import annotations

import hashlib

SELECT = "select"  # the stage in which an earlier student takes the last one's part
_CACHED = {"reference": "retrained", "judge": "teacher"}


def trained(references: int) -> list[str]:
    """The roles that networks are trained for, in that order, with so many references."""
    further = (f"reference-{number}" for number in range(1, 1 + references))
    return ["teacher", "retrained", *further, "judge-1"]


def cached_as(role: str) -> str:
    """The role under which a network is cached: that which it plays in the run of its own seed."""
    kind = role.partition("-")[0]
    return _CACHED.get(kind, kind)


def seed_offset(role: str) -> int:
    """By how many a network's seed follows the run's own."""
    return int(role.partition("-")[2] or 0)


def recorded_as(role: str) -> str:
    """Where the record keeps the seconds of its training; those of the references add up."""
    kind = role.partition("-")[0]
    return "references" if kind == "reference" else kind


def derive_seed(seed: int, role: str) -> int:
    """A seed of its own for each role, so that no two networks start alike."""
    return int.from_bytes(hashlib.sha256(f"{role} {seed}".encode()).digest()[:4], "big") // 2
