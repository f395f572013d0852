"""Time a method's loop as published beside ours, in one process and in turn.

    python -m scripts.benchmark method=gkt method.as_published=true model=lenet hardware=fast

It takes the keys of `unlearn` and those of `benchmark`, such as `benchmark.rounds=3`. It writes
one JSON file for each setting to `outputs/benchmark/`, and the table of all to `table.md` there.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from scripts.benchmark.figures import describe_machine, measure_setting
from scripts.benchmark.measure import Timing
from scripts.benchmark.setting import prepare_setting
from scripts.benchmark.table import format_table
from unlearn.config.resolve import resolve_config
from unlearn.errors import exit_on_error
from unlearn.records.record import write_json
from unlearn.records.template import versions

CONF = Path(__file__).resolve().parents[2] / "conf"
BATCH_KEYS = {"inversion": "inversion_batch", "noise": "noises"}


def run_benchmark(composed: DictConfig, overrides: list[str]) -> None:
    """Measure one setting, write its figures, and print the table of all settings so far.

    Args:
        composed: Hydra's config, with the group `benchmark`.
        overrides: What was typed.

    Raises:
        UnlearnError: If the config is invalid or the method has no published loop here.
    """
    plain = composed.copy()
    OmegaConf.set_struct(plain, False)
    timing = OmegaConf.to_object(plain.pop("benchmark"))
    assert isinstance(timing, Timing)
    config = resolve_config(plain, [o for o in overrides if not o.startswith("benchmark.")])
    figures = measure_setting(prepare_setting(config), timing)
    width = config.model.arguments.get("width")
    model = config.model.name + (f" {width:g}" if width is not None else "")
    about = {
        "dataset": config.dataset.name,
        "model": model,
        "method": config.method.name,
        "batch": getattr(config.method, BATCH_KEYS.get(config.method.name, "batch_size")),
        "machine": describe_machine(),
        "versions": versions(),
        "overrides": overrides,
    }
    folder = Path(config.outputs) / "benchmark"
    compiled = "-compiled" if figures["compiled"] else ""
    name = f"{config.method.name}-{model.replace(' ', '-')}-{figures['precision']}{compiled}.json"
    (folder / config.dataset.name).mkdir(parents=True, exist_ok=True)
    write_json(folder / config.dataset.name / name, about | figures)
    table = format_table(folder)
    (folder / "table.md").write_text(table)
    print(table)


ConfigStore.instance().store(
    name="benchmark", node={"defaults": ["config", "_self_"], "benchmark": Timing()}
)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="benchmark")
def main(composed: DictConfig) -> None:
    """Benchmark the composed setting."""
    with exit_on_error("benchmark"):
        run_benchmark(composed, list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    main()
