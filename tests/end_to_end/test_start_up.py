"""What a run imports before its first training step: torch, and nothing else that is slow."""

import json
import subprocess
from pathlib import Path

from tests.helpers.command_line import command, surroundings

OBSERVER = """
import json, os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook

class Stop:
    def start(self, config, directory, config_hash):
        register_optimizer_step_post_hook(self.stop)

    def stop(self, *_):
        with open("imported.json", "w") as file:
            json.dump(list(sys.modules), file)
        os._exit(0)
"""
SLOW = {"matplotlib", "optuna", "pandas", "scipy", "sklearn", "submitit", "torchvision", "wandb"}


def test_slow_imports_come_after_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "observer.py").write_text(OBSERVER)
    stop = "+tracking.observers.stop._target_=observer.Stop"
    subprocess.run(command(stop), cwd=tmp_path, env=surroundings(), check=True, timeout=300)
    imported = set(json.loads((tmp_path / "imported.json").read_text()))
    assert "torch" in imported
    assert not SLOW & imported
    assert "torch._dynamo" not in imported
