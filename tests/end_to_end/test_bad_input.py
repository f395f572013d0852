"""Bad input gets one line that names the key, the value and what is allowed; exit code 2."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import (
    TINY,
    Cli,
    one_line,
    record_in,
)

NOWHERE = (
    "dataset=none dataset.shape=[1,8,8] dataset.num_classes=10 dataset.mean=[0] dataset.std=[1]"
)

# What is typed -> what the line must name. None of these may import torch.
BEFORE_TORCH = {
    "method=foo": ["method=foo", "gkt", "inversion", "noise"],
    "experiment=nope": ["experiment=nope"],
    "experiment=ablation/nope": ["experiment=ablation/nope", "ablation/gate"],
    "experiment=[ablation/nope,quick]": ["experiment=[ablation/nope,quick]", "ablation/gate"],
    "experiment=[ablation/gate,nope]": ["experiment=[ablation/gate,nope]", "quick"],
    "-m seed=0,1 design=nope": ["design=nope", "grid", "cover"],
    "method/source=inverted": ["method/source=inverted", "method has no group source"],
    "hydra.launcher.n_jobs=2": ["hydra.launcher.n_jobs=2", "hydra/launcher=NAME"],
    "hydra/launcher=joblib": ["hydra/launcher=joblib", "give -m"],
    "forget=0,1": ["forget=0,1", "sweep", "-m"],
    "method gkt": ["method", "KEY=VALUE"],
    "model.checkpoint=best(1).pt": ["model.checkpoint=best(1).pt", "'best(1).pt'"],
    "model.checkpoint=epoch=3.ckpt": ["model.checkpoint=epoch=3.ckpt", "'epoch=3.ckpt'"],
    "model.checkpoint=modèle.pt": ["model.checkpoint=modèle.pt", "'modèle.pt'"],
    "tracking.project=team/project": ["tracking.project=team/project", "none of"],
    "-m method.start=interval(0,1)": ["interval", "hydra/sweeper=optuna"],
    "-m seed=range(3,0)": ["seed=range(3,0)", "no value"],
    "hardware.compile=foo": ["hardware.compile=foo", "boolean", "max-autotune"],
    "seed=true": ["seed=True", "integer"],
    "forget=[true]": ["forget.0=True", "integer"],
    "outputs=": ["outputs=", "empty"],
    "run_dir=": ["run_dir=", "empty"],
    "method=delete method.source=inverted": ["method.source=inverted", "method/source=NAME"],
    "evaluation=audit evaluation.references=1": ["evaluation.references=1", "2 or more"],
    "methd=gkt": ["methd=gkt", "method"],
    "method.iters=3": ["method.iters=3", "iterations"],
    "+colour=red": ["colour=red", "no such key"],
    "forget=[12]": ["forget=[12]", "0 to 9"],
    "forget=[-1]": ["forget", "-1"],
    "forget=[]": ["forget=[]", "0 to 9"],
    "forget=[0,0]": ["forget=[0, 0]", "twice"],
    "forget=[0,1,2,3,4,5,6,7,8,9]": ["forget", "every class"],
    "forget=cat": ["forget=cat", "names 0, 1, 2"],
    "forget=[0": ["[0"],
    "method=null": ["method=null", "no such option", "gkt"],
    "method=": ["method=: no such option", "gkt"],
    "method=broken --config-dir .": ["broken.yaml", "line 1"],
    "seed=-1": ["seed=-1", "0"],
    "seed=abc": ["seed=abc", "integer"],
    "filter.gate=1.5": ["filter.gate=1.5", "1"],
    "filter.gate=-0.1": ["filter.gate=-0.1", "0"],
    "method=delete_inverted filter.gate=0.1": ["filter.gate=0.1", "method=delete_inverted", "null"],
    "method=scrub filter.entropy=1": ["filter.entropy=1", "method=scrub", "null"],
    "filter.entropy=9": ["filter.entropy=9", "2.303", "null"],
    "filter.entropy=0": ["filter.entropy=0", "greater than 0"],
    "filter.entropy=1.5 filter.entropy_definition=quantile": ["filter.entropy=1.5", "quantile"],
    "filter.entropy_definition=half": ["filter.entropy_definition=half", "retain"],
    "method=gkt method.iterations=0": ["method.iterations=0"],
    "method=gkt method.target=mask": ["method.target=mask", "masked"],
    "hardware.autocast=float16": ["hardware.autocast=float16", "bfloat16"],
    "method=gkt method.start=1.01": ["method.start=1.01", "1"],
    "method=gkt method.start=nan": ["method.start=nan"],
    "method=delete tuned=digits/nope": ["tuned=digits/nope", "~tuned"],
    "method=delete method/source=nope": ["method/source=nope", "inverted, real"],
    "method=delete method.source=null": ["method.source=null", "method/source=real"],
    "method=delete method.source.nope=1": ["method.source.nope=1", "no such key", "most"],
    "model.name=../net": ["model.name=../net", "/"],
    "dataset.name=": ["dataset.name=", "folder"],
    "method.name=..": ["method.name=..", "folder"],
    "training.augment.crop=8": ["training.augment.crop=8", "7"],
    "training.augment.turn=1": ["training.augment.turn"],
    "training/recipe@training=nope": ["training/recipe@training=nope", "~training/recipe@training"],
    "training.optimizer=adam": ["training.optimizer=adam", "adamw"],
    "tracking.mode=sometimes": ["tracking.mode=sometimes", "offline"],
    "tracking.project=": ["tracking.project=", "empty"],
    "tracking.tags=thesis": ["tracking.tags=thesis", "list"],
    "evaluation.every=0": ["evaluation.every=0"],
    "evaluation.references=-1": ["evaluation.references=-1", "0"],
    "dataset.mean=[0.1,0.2]": ["dataset.mean", "1 values"],
    "dataset=none": ["dataset.shape", "must be given"],
    NOWHERE: ["model.checkpoint=null", "must be given"],
}


@pytest.mark.parametrize("typed", sorted(BEFORE_TORCH))
def test_refused_early(cli: Cli, tmp_path: Path, no_torch: dict[str, Any], typed: str) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "broken.yaml").write_text("name: [broken")
    one_line(cli(*typed.split(), code=2, **no_torch), BEFORE_TORCH[typed])
    assert not (tmp_path / "outputs" / "cache").exists()


# Refused once the parts are built, but before anything is trained.
BEFORE_WORK = {
    "method=regrow method.batch_norm=published": ["method.batch_norm=published", "frozen"],
    "method=delete method.source.most=0": ["method.source.most=0", "greater than 0"],
    "method=delete method/source=inverted method.source.steps=-1": ["method.source.steps=-1", "0"],
    "method=boundary_shrink method.bound=2": ["method.bound=2", "1"],
    "method=salun method.salient=1.5": ["method.salient=1.5", "1"],
    "method=ssd method.selection_weight=-1": ["method.selection_weight=-1", "0"],
    "method=gkt method.selection=oracle evaluation=quick": ["evaluation.every=null", "method=gkt"],
    "method.depth=-1": ["method.depth=-1", "greater than or equal to 0"],
    "method.gate=high": ["method.gate=high", "number"],
    "method=gkt method.clip=null": ["method.clip=null", "number"],
    "method=masked_logit method.bias=nan": ["method.bias=nan", "finite"],
    "~method.pool": ["method.pool=null", "must be given"],
    "model=lenet method=inversion": ["method.batch_norm_weight=0.05", "no batch norm"],
    "method=gkt +method.colour=red": ["method.colour=red", "no such key"],
    "method=delete +method.source.colour=red": ["method.source.colour=red", "no such key"],
    "method=delete method.source._target_=no_such.Source": [
        "method.source._target_=no_such.Source",
        "no_such",
    ],
    "method=noise method.impair=false method.repair_epochs=0": ["repair_epochs=0", "at least 1"],
    "method=embeddings method.layer=blocks.9": ["method.layer=blocks.9", "names no layer"],
    "objective=accuracy.best": ["objective=accuracy.best", "accuracy.unlearned.test.retain"],
    "objective=probe.layers": ["objective=probe.layers", "no number", "probe.penultimate"],
    "model=allcnn model.width=0": ["model.width=0", "0.01"],
    "+model.colour=3": ["model.colour=3", "no such key"],
    "dataset=mnist": ["dataset.root=data", "dataset.download=true"],
    "dataset=cifar10 dataset.root=nowhere": ["dataset.root=nowhere", "dataset.download=true"],
    "dataset=image_folder dataset.root=nowhere dataset.num_classes=3": ["dataset.root=nowhere"],
    "model._target_=no_such_package.Net": ["model._target_=no_such_package.Net", "no_such_package"],
    "model=custom model._target_=torch.nn.Flatten": ["model._target_=torch.nn.Flatten", "10"],
    "model.checkpoint=missing.pt": ["model.checkpoint=missing.pt", "no such file"],
    "model=lenet model.attention=[features.9]": ["model.attention=features.9"],
    "evaluation.metrics.relearn.max_steps=0": ["relearn.max_steps=0", "greater than 0"],
    "evaluation.metrics.relearn.margin=2": ["relearn.margin=2", "less than 1"],
    "evaluation.metrics.probe.shots=some": ["metrics.probe.shots=some", "integer"],
    "evaluation.metrics.membership.penalty=-1": ["membership.penalty=-1", "greater than 0"],
    "+evaluation.metrics.onset.colour=red": ["metrics.onset.colour=red", "no such key"],
    "evaluation=audit evaluation.audits.recovery.shots=[1,0]": ["recovery.shots.1=0", "than 0"],
    "evaluation=audit evaluation.audits.relearn.every=0": ["audits.relearn.every=0", "1 to 30"],
    "evaluation=audit +evaluation.audits.lira.shadows=9": ["audits.lira.shadows=9", "no such key"],
    "outputs=/proc/here": ["outputs=/proc/here", "cannot be written"],
    "run_dir=/proc/here/run": ["run_dir=/proc/here/run", "cannot be written"],
}


@pytest.mark.parametrize("typed", sorted(BEFORE_WORK))
def test_refused_before_work_starts(cli: Cli, tmp_path: Path, typed: str) -> None:
    one_line(cli(*typed.split(), "tracking.mode=disabled", code=2), BEFORE_WORK[typed])
    assert not list(tmp_path.rglob("model.safetensors"))
    assert not list(tmp_path.rglob("record.json"))


WITHOUT_THREES = """
from dataclasses import replace
from unlearn.data import digits

def load(test_fraction):
    raw = digits.load(test_fraction)
    kept = raw.test_labels != 3
    return replace(raw, test_images=raw.test_images[kept], test_labels=raw.test_labels[kept])
"""


def test_a_class_that_nothing_can_be_measured_on_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "no_threes.py").write_text(WITHOUT_THREES)
    done = cli("dataset._target_=no_threes.load", "forget=[3]", "tracking.mode=disabled", code=2)
    one_line(done, ["forget=[3]", "no test image of class 3"])
    assert not list(tmp_path.rglob("model.safetensors"))


OWN_PARTS = """
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from unlearn.data import digits

@dataclass(frozen=True)
class Far:
    reach: PositiveInt
    access: str = "none"

class Greedy:
    access = "everything"
    def unlearn(self, request, data):
        yield

def floats(test_fraction):
    raw = digits.load(test_fraction)
    return type(raw)(raw.train_images / 255, *list(vars(raw).values())[1:])

def nothing(test_fraction):
    return None
"""


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("dataset._target_=own_parts.floats", ["floats: ", "torch.float32", "must be torch.uint8"]),
        ("dataset._target_=own_parts.nothing", ["nothing: must return", "RawImages"]),
        ("method._target_=own_parts.Greedy", ["Greedy: its access is everything", "none, oracle"]),
        ("method._target_=own_parts.Far +method.reach=-1", ["method.reach=-1", "greater than 0"]),
        (
            "dataset.validation=0.999",
            ["dataset.validation=0.999", "leaves no training image of class"],
        ),
    ],
)
def test_own_parts_are_checked(cli: Cli, tmp_path: Path, word: str, names: list[str]) -> None:
    (tmp_path / "own_parts.py").write_text(OWN_PARTS)
    one_line(cli(*word.split(), "tracking.mode=disabled", code=2), names)
    assert not list(tmp_path.rglob("model.safetensors"))


def test_no_gpu_when_one_is_asked_for(cli: Cli) -> None:
    done = cli("hardware=gpu", "tracking.mode=disabled", CUDA_VISIBLE_DEVICES="", code=2)
    one_line(done, ["hardware.device=cuda", "no CUDA GPU", "cpu"])


def test_a_loss_that_is_not_finite_is_recorded_as_failed(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TINY, "method.learning_rate=1e30", "run_dir=here", code=1)
    one_line(done, ["method.learning_rate=1e+30", "not finite"])
    record = record_in(tmp_path / "here")
    assert record["status"] == "failed"
    assert "not finite" in record["error"]
    assert record["accuracy"]["unlearned"]["test"]["retain"] is None


BROKEN = """
class Broken:
    needs_data = False

    def __call__(self, models, setting):
        raise ZeroDivisionError("no such thing")
"""


def test_a_metric_that_fails_takes_no_others_figures_with_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own_metric.py").write_text(BROKEN)
    done = cli(
        *TINY, "evaluation.metrics.accuracy._target_=own_metric.Broken", "run_dir=here", code=1
    )
    one_line(done, ["ZeroDivisionError: no such thing"])
    record = record_in(tmp_path / "here")
    assert (record["status"], record["error"]) == ("failed", "ZeroDivisionError: no such thing")
    assert record["accuracy"]["unlearned"]["test"]["retain"] is None
    assert record["divergence"]["retain"] is not None


def test_training_that_diverges_names_its_learning_rate(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TINY, "training.learning_rate=1e9", "training.epochs=3", "run_dir=here", code=1)
    one_line(done, ["training.learning_rate", "lower it"])
    assert not list(tmp_path.rglob("model.safetensors")), "a diverged teacher is never cached"


def test_a_gate_that_lets_nothing_through_stops(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TINY, "filter.gate=0", "method.iterations=500", "run_dir=here", code=1)
    one_line(done, ["filter.gate", "null"])
    assert record_in(tmp_path / "here")["status"] == "failed"


def test_a_traceback_if_asked_for(cli: Cli) -> None:
    done = cli("forget=[12]", UNLEARN_TRACEBACK="1", code=1)
    assert "Traceback" in done.stderr
    assert "ConfigError" in done.stderr


def test_the_entrypoint_is_the_module_and_the_script() -> None:
    script = Path(sys.executable).parent / "unlearn"
    for call in ([str(script)], [sys.executable, "-m", "unlearn"]):
        done = subprocess.run([*call, "--version"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "1.3" in done.stdout
