"""The Python interface: a network in memory, a whole run, records as a table."""

import json
from pathlib import Path

import pytest
import torch

import unlearn
from tests.helpers.command_line import TINY, run_program
from tests.helpers.paths import DOCS
from tests.helpers.tiny import seeded_net
from unlearn.errors import UnlearnError

INPUT = {"shape": (1, 8, 8), "mean": (0.3,), "std": (0.4,)}


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, unlearn; print(unlearn.__version__, 'torch' in sys.modules)"
    assert run_program("-c", code).stdout.split() == [unlearn.__version__, "False"]


def test_a_network_in_memory_forgets_a_class(tmp_path: Path) -> None:
    network = seeded_net(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    student, record = unlearn.forget(
        network,
        [1],
        **INPUT,
        class_names=["dog", "cat", "cow", "hen"],
        method="masked_logit",
        overrides=[f"run_dir={tmp_path}/kept"],
    )
    assert record["status"] == "complete"
    assert record["forget"] == [1]
    assert record["ledger"]["images"] is None
    images = torch.rand(20, 1, 8, 8)
    with torch.no_grad():
        assert not (student(images).argmax(dim=1) == 1).any()
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert (tmp_path / "kept" / "record.json").exists()


def test_settings_reach_the_method() -> None:
    words = {"iterations": 1, "batch_size": 4, "student_steps": 1, "pool": 0, "gate": None}
    student, record = unlearn.forget(seeded_net(1), [0, 2], **INPUT, **words, seed=3)
    method = record["config"]["method"]
    assert {key: method[key] for key in words} == words
    assert (record["method"], record["forget"], record["seed"]) == ("regrow", [0, 2], 3)
    assert not student.training


def test_a_mistake_is_one_line() -> None:
    with pytest.raises(UnlearnError, match=r"method\.depht=3: no such key"):
        unlearn.forget(seeded_net(1), [0], **INPUT, depht=3)
    with pytest.raises(UnlearnError, match="method=nope: no such option"):
        unlearn.run(["method=nope"])


def test_a_run_and_its_row(tmp_path: Path) -> None:
    outcome = unlearn.run([*TINY, f"outputs={tmp_path}", "seed=4"])
    assert unlearn.run([*TINY, f"outputs={tmp_path}", "seed=4"]).done_before
    table = unlearn.load_records(tmp_path)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["seed"], row["method.iterations"], row["status"]) == (4, 4, "complete")
    assert row["D_r"] == outcome.record["accuracy"]["unlearned"]["test"]["retain"]


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom() -> None:
    notebook = json.loads((DOCS / "guide" / "python.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    figures, table = names["figures"], names["table"]
    assert figures["teacher"][1] > 0.95
    assert figures["student"][1] < 0.05
    assert figures["student"][0] > 0.8
    assert list(table["status"]) == ["complete"]
