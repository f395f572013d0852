"""The history of a run as a CSV file beside the Parquet file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.tracking.history import History


class CsvFile(History):
    """Writes history.csv: one row per step, one column per scalar and per measured figure."""

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write the file."""
        self.frame().to_csv(directory / "history.csv", index=False)
