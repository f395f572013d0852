"""Fail unless the main job's last record keeps what the README promises of the defaults."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def broken_promises(record: dict[str, object]) -> list[str]:
    """What the record of a default run does not keep."""
    accuracy, relearn, seconds = record["accuracy"], record["relearn"], record["seconds"]
    assert isinstance(accuracy, dict)
    assert isinstance(relearn, dict)
    assert isinstance(seconds, dict)
    unlearned, retrained = accuracy["unlearned"]["test"], accuracy["retrained"]["test"]
    promises = {
        "status is complete": record["status"] == "complete",
        "access is none": record["access"] == "none",
        "D_f <= 0.5": unlearned["forget"] <= 0.5,
        "D_r within 1 point of retrained": abs(unlearned["retain"] - retrained["retain"]) <= 1,
        "AIN in 0.7 to 1.5": relearn["ain"] is not None and 0.7 <= relearn["ain"] <= 1.5,
        "at most 90 s": seconds["total"] <= 90,
    }
    return [promise for promise, kept in promises.items() if not kept]


def main() -> None:
    """Check the newest run of the default config under outputs/."""
    found = Path("outputs/digits-allcnn").glob("*/forget-0/seed-0-*/record.json")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    broken = broken_promises(json.loads(newest.read_text()))
    if broken:
        sys.exit(f"{newest}: not kept: {'; '.join(broken)}")
    print(f"{newest}: every promise kept")


if __name__ == "__main__":
    main()
