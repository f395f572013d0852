"""A SLURM of one node on loopback, to try launches on: munged, slurmctld, slurmd, no systemd.

As root: `eval "$(python scripts/slurm_node.py start)"` sets SLURM_CONF, by which sbatch and squeue
find it; `unlearn -m seed=0,1 hydra/launcher=slurm_cpu` then uses it; `stop` ends it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# Debian's packages, and a program by which each is known.
_PACKAGES = {
    "munge": ("munged", "munge"),
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol"),
}
# Daemons are not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_DAEMONS = ("slurmd", "slurmctld", "munged")

# Two partitions: a job of `high` sends those of `low` back into the queue. The GPU is one in name
# only, so that requests for one can be tried. cred_expire is how long a requeued job is held back.
_CONF = """\
ClusterName=unlearn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=1
MinJobAge={job_age}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=high Nodes={host} PriorityTier=10 MaxTime=INFINITE State=UP
"""


def start(folder: Path, cpus: int, job_age: int) -> None:
    """Start a node with empty queues and wait until it takes jobs; print what names it."""
    _require_packages()
    if any(_running(folder)):
        _refuse(f"one runs in {folder} already; stop it first")
    if folder.exists() and any(folder.iterdir()) and not (folder / "slurm.conf").exists():
        _refuse(f"--folder {folder} holds other files; name another")
    shutil.rmtree(folder, ignore_errors=True)
    _write(folder, cpus, job_age)
    _munged(folder)
    _daemon(folder, "slurmctld")
    _daemon(folder, "slurmd")
    _wait("the node to take jobs", lambda: "idle" in _ask(folder, "sinfo", "-h", "-o", "%t"))
    print(f"export SLURM_CONF={folder}/slurm.conf")


def stop(folder: Path) -> None:
    """Cancel what runs and end the daemons; their logs stay."""
    if "slurmctld" in _running(folder):
        _ask(folder, "scancel", "--user", "root")
        _wait("the jobs to end", lambda: not _ask(folder, "squeue", "-h"))
    for name in _DAEMONS:
        _end(folder, name)


def status(folder: Path) -> None:
    """Print the partitions and the queue; exit 1 unless every daemon runs."""
    missing = sorted(set(_DAEMONS) - set(_running(folder)))
    if missing:
        sys.exit(f"slurm_node: not running in {folder}: {', '.join(missing)}")
    print(_ask(folder, "sinfo") + _ask(folder, "squeue", "--array"), end="")


def restart_controller(folder: Path) -> None:
    """End slurmctld and start it again, as after an upgrade; jobs on the node go on meanwhile."""
    _end(folder, "slurmctld")
    _daemon(folder, "slurmctld")
    _wait("the controller to answer", lambda: bool(_ask(folder, "sinfo", "-h")))


def _require_packages() -> None:
    missing = [
        package
        for package, programs in _PACKAGES.items()
        if not all(shutil.which(program, path=_PATH) for program in programs)
    ]
    if missing:
        _refuse(f"not here: {', '.join(missing)}; apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        _refuse("must be started as root: slurmd runs other users' jobs")


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"slurm_node: {reason}\n")
    sys.exit(2)


def _write(folder: Path, cpus: int, job_age: int) -> None:
    for name in (".", "munge", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o755)
    key = folder / "munge" / "key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    controller_port, node_port = _free_ports()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(
        _CONF.format(
            folder=folder,
            host=host,
            controller_port=controller_port,
            node_port=node_port,
            cpus=cpus,
            memory=pages // 2**20,
            job_age=job_age,
        )
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for opened in (one, other):
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in (one, other)]


def _munged(folder: Path) -> None:
    place = folder / "munge"
    files = {
        "socket": place / "socket",
        "key-file": place / "key",
        "log-file": place / "munged.log",
        "pid-file": folder / "munged.pid",
        "seed-file": place / "seed",
    }
    # Forced, it is content with a socket that only root, which runs everything here, can reach.
    _run(folder, "munged", "--force", *(f"--{name}={path}" for name, path in files.items()))


def _daemon(folder: Path, name: str) -> None:
    _run(folder, name, "-f", str(folder / "slurm.conf"))


def _run(folder: Path, *words: str) -> None:
    # A daemon keeps its streams open: given pipes, whoever reads ours would wait for its end.
    with (folder / "start.log").open("a+") as log:
        began = subprocess.run(
            words, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.seek(0)
        if began.returncode != 0:
            sys.exit(f"slurm_node: {words[0]} does not start: {' '.join(log.read().split())}")


def _ask(folder: Path, *words: str) -> str:
    """The answer of a SLURM command, empty if it fails."""
    done = subprocess.run(words, env=_environment(folder), capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}


def _running(folder: Path) -> dict[str, int]:
    """The daemons of this folder that run, and their process numbers."""
    found = {}
    for name in _DAEMONS:
        try:
            number = int((folder / f"{name}.pid").read_text())
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if Path(words[0].decode()).name == name:  # else the number is another program's by now
            found[name] = number
    return found


def _end(folder: Path, name: str) -> None:
    number = _running(folder).get(name)
    if number is not None:
        os.kill(number, signal.SIGTERM)
        _wait(f"{name} to end", lambda: name not in _running(folder))


def _wait(what: str, reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            sys.exit(f"slurm_node: waited {seconds:.0f} s for {what}; see the logs in its folder")
        time.sleep(0.2)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="A SLURM of one node, to try launches on.")
    parser.add_argument("action", choices=["start", "stop", "status", "restart-controller"])
    place = Path(tempfile.gettempdir()) / "unlearn-slurm"
    parser.add_argument("--folder", type=Path, default=place, help=f"for all files ({place})")
    parser.add_argument("--cpus", type=int, default=os.cpu_count(), help="that SLURM gives out")
    parser.add_argument("--job-age", type=int, default=300, help="seconds it knows an ended job")
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.action == "start":
        start(folder, given.cpus, given.job_age)
    elif given.action == "stop":
        stop(folder)
    elif given.action == "status":
        status(folder)
    else:
        restart_controller(folder)


if __name__ == "__main__":
    main()
