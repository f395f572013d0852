"""A built wheel holds the packages and their data alone, and works away from the clone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.command_line import TINY, record_in, run_program
from tests.helpers.paths import CONF, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run([sys.executable, "-m", "build", *words], capture_output=True, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def files_in(folder: Path, pattern: str) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob(pattern)}


def test_the_wheel_holds_the_packages_and_their_data_alone(site: Path) -> None:
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"unlearn", "hydra_plugins"}
    assert files_in(site / "unlearn" / "conf", "*.yaml") == files_in(CONF, "*.yaml")
    templates = Path("unlearn", "report", "templates")
    assert files_in(site / templates, "*") == files_in(ROOT / templates, "*")
    plugins = site / "hydra_plugins"
    assert (plugins / "unlearn_hydra" / "slurm_launcher.py").exists()
    assert not (plugins / "__init__.py").exists(), "it would hide the plugins of other packages"


def test_the_wheel_works_elsewhere(site: Path, tmp_path: Path) -> None:
    where = "import unlearn; print(unlearn.__file__)"
    said = [
        run_program(*words, folder=tmp_path, PYTHONPATH=str(site)).stdout
        for words in (["-c", where], ["-m", "unlearn", *TINY, "run_dir=here"])
    ]
    assert said[0].startswith(str(site))
    assert record_in(tmp_path / "here")["status"] == "complete"
