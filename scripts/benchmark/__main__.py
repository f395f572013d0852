"""Time a method's loop as published beside ours, in one process and in turn.

    python -m scripts.benchmark method=gkt method.as_published=true model=lenet hardware=fast

Takes the keys of `unlearn`, and `benchmark.*`. Writes one JSON a setting under
`outputs/benchmark/`, and the table of all of them, `table.md`.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from scripts.benchmark.figures import machine, measured, table
from scripts.benchmark.setting import prepare_setting
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.errors import exit_on_error
from unlearn.records.record import write_json
from unlearn.records.template import versions

CONF = Path(__file__).resolve().parents[2] / "conf"
BATCH = {"inversion": "inversion_batch", "noise": "noises"}


def benchmark(composed: DictConfig, overrides: list[str]) -> None:
    """Measure one setting, keep its figures, and print the table so far."""
    plain = composed.copy()
    OmegaConf.set_struct(plain, False)
    settings = plain.pop("benchmark")
    config: RunConfig = resolve_config(
        plain, [o for o in overrides if not o.startswith("benchmark.")]
    )
    figures = measured(prepare_setting(config), settings)
    width = config.model.arguments.get("width")
    model = config.model.name + (f" {width:g}" if width is not None else "")
    about = {
        "dataset": config.dataset.name,
        "model": model,
        "method": config.method.name,
        "batch": getattr(config.method, BATCH.get(config.method.name, "batch_size")),
        "machine": machine(),
        "versions": versions(),
        "overrides": overrides,
    }
    folder = Path(config.outputs) / "benchmark"
    compiled = "-compiled" if figures["compiled"] else ""
    name = f"{config.method.name}-{model.replace(' ', '-')}-{figures['precision']}{compiled}.json"
    (folder / config.dataset.name).mkdir(parents=True, exist_ok=True)
    write_json(folder / config.dataset.name / name, about | figures)
    (folder / "table.md").write_text(table(folder))
    print(table(folder))


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="benchmark")
def main(composed: DictConfig) -> None:
    """Benchmark the composed setting."""
    with exit_on_error("benchmark"):
        benchmark(composed, list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    main()
