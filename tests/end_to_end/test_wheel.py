"""A built wheel carries its conf/ tree and works away from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.helpers.command_line import TINY, record_in
from tests.helpers.paths import ROOT


def test_the_wheel_works_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    packed = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    carried = tmp_path / "site" / "unlearn" / "conf"
    assert {p.relative_to(carried) for p in carried.rglob("*.yaml")} == packed
    plugins = tmp_path / "site" / "hydra_plugins"
    assert (plugins / "unlearn_hydra" / "slurm_launcher.py").exists()
    assert not (plugins / "__init__.py").exists(), "it would hide the plugins of other packages"

    where = "import unlearn, sys; sys.stdout.write(unlearn.__file__)"
    pages = ROOT / "unlearn" / "report" / "templates"
    packed_pages = tmp_path / "site" / "unlearn" / "report" / "templates"
    assert {p.name for p in packed_pages.iterdir()} == {p.name for p in pages.iterdir()}

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    for call in (["-c", where], ["-m", "unlearn", *TINY, "run_dir=here"]):
        done = subprocess.run(
            [sys.executable, *call],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if call[0] == "-c":
            assert done.stdout.startswith(str(tmp_path / "site"))
    assert record_in(tmp_path / "here")["status"] == "complete"
