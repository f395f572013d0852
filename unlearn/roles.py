"""The roles that trained networks play in a run, and what their names say.

`teacher` is the network that is to forget. `retrained` is the reference, trained without the forget
classes. `reference-1`, `reference-2`, ... are further references, trained with the seeds that
follow. `judge-1` is the teacher of the next seed.
"""

import hashlib

SELECT = "select"  # the stage in which an earlier student replaces the last one
_CACHED = {"reference": "retrained", "judge": "teacher"}


def list_roles(references: int) -> list[str]:
    """Return the roles in the order of training.

    Args:
        references: Number of further references.
    """
    further = (f"reference-{number}" for number in range(1, 1 + references))
    return ["teacher", "retrained", *further, "judge-1"]


def cached_as(role: str) -> str:
    """Return the role under which a network is cached: its role in the run of its own seed."""
    kind = role.partition("-")[0]
    return _CACHED.get(kind, kind)


def seed_offset(role: str) -> int:
    """Return the offset of a network's seed from the run's seed."""
    return int(role.partition("-")[2] or 0)


def recorded_as(role: str) -> str:
    """Return the record's entry for the seconds of training; all references share one."""
    kind = role.partition("-")[0]
    return "references" if kind == "reference" else kind


def derive_seed(seed: int, role: str) -> int:
    """Return a separate seed for a role, so that no two networks start alike."""
    return int.from_bytes(hashlib.sha256(f"{role} {seed}".encode()).digest()[:4], "big") // 2
