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
    training = seconds["teacher"] + seconds["retrained"] + seconds["references"]
    promises = {
        "status is complete": record["status"] == "complete",
        "access is none": record["access"] == "none",
        "D_f <= 0.5": unlearned["forget"] <= 0.5,
        "D_r within 1 point of retrained": abs(unlearned["retain"] - retrained["retain"]) <= 1,
        "AIN in 0.7 to 1.5": relearn["ain"] is not None and 0.7 <= relearn["ain"] <= 1.5,
        # On another machine, or a busier one, seconds say nothing: about 90 on two idle cores.
        "at most 4 times what training its networks took": seconds["total"] <= 4 * training,
    }
    return [promise for promise, kept in promises.items() if not kept]


def main() -> None:
    """Check the newest run of the default config under outputs/."""
    found = list(Path("outputs/digits-allcnn").glob("*/forget-0/seed-0-*/record.json"))
    if not found:
        sys.exit("outputs/digits-allcnn: holds no record of the main job; run `unlearn` first")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    record = json.loads(newest.read_text())
    broken = broken_promises(record)
    if broken:
        sys.exit(f"{newest}: not kept: {'; '.join(broken)}")
    print(f"{newest}: every promise kept, in {record['seconds']['total']:.0f} s")


if __name__ == "__main__":
    main()
