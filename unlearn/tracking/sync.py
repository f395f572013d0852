"""`unlearn-sync`: uploads Weights & Biases runs that were kept offline, each once."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from unlearn.errors import ConfigError, RunError, exit_on_error

_AT_ONCE = 50  # runs of one `wandb sync`
_LOOK_EVERY = 0.2  # seconds


def unsent(folders: Iterable[Path]) -> list[Path]:
    """Find the logs of finished runs below some folders that were not uploaded completely.

    Unfinished runs are in hidden folders and are skipped.

    Raises:
        ConfigError: If a folder does not exist.
    """
    found = set()
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError("FOLDER", folder, "no such folder")
        for log in folder.rglob("*.wandb"):
            hidden = any(part.startswith(".") for part in log.relative_to(folder).parts)
            if not hidden and not log.parent.is_symlink():
                found.add(log.resolve())
    return sorted(log for log in found if not _is_sent(log))


def mark_sent(log: Path) -> None:
    """Write the mark that `wandb sync` writes beside a log that was uploaded completely."""
    _mark(log).touch()


def send(logs: list[Path], parallel: int, patience: int) -> list[Path]:
    """Upload runs in groups of 50; stop after a group of which none could be uploaded.

    Args:
        logs: Logs of the runs.
        parallel: Number of runs uploaded at a time.
        patience: Seconds without an uploaded run after which a group is given up.

    Returns:
        The logs that were not uploaded.

    Raises:
        RunError: If the server does not answer or refuses the account.
    """
    _check_account()
    for first in range(0, len(logs), _AT_ONCE):
        if not _send_any(logs[first : first + _AT_ONCE], parallel, patience):
            break
    return [log for log in logs if not _is_sent(log)]


def _send_any(logs: list[Path], parallel: int, patience: int) -> bool:
    """Upload these runs; return whether any was uploaded.

    `wandb sync` uploads none of its runs if it cannot read one of them, and still exits with 0.
    Halving the group isolates that run.
    """
    gave_up = _sync(logs, parallel, patience)
    if gave_up or len(logs) == 1 or any(map(_is_sent, logs)):
        return any(map(_is_sent, logs))
    half = len(logs) // 2
    sent = [_send_any(part, parallel, patience) for part in (logs[:half], logs[half:])]
    return any(sent)


def _sync(logs: list[Path], parallel: int, patience: int) -> bool:
    """Run `wandb sync`; return whether it was killed because no run arrived for too long."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "-n", str(parallel)]
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            [*command, *map(str, logs)],
            env=os.environ | {"WANDB_SILENT": "false", "WANDB_DIR": scratch, "WANDB_SERVICE": ""},
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as process:
            gave_up = _ended(process, logs, patience)
        said.seek(0)
        _distrust(logs, said.read())
    return gave_up


def _ended(process: subprocess.Popen[bytes], logs: list[Path], patience: int) -> bool:
    """Wait for the process; return whether it was killed for lack of progress."""
    sent, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(_LOOK_EVERY)
        now_sent = sum(map(_is_sent, logs))
        if now_sent > sent:
            sent, since = now_sent, time.monotonic()
        if time.monotonic() - since > patience:
            process.kill()
            return True
    return False


def _distrust(logs: list[Path], said: str) -> None:
    """Print wandb's errors, and remove the marks of runs that it marked despite an error."""
    by_id = {log.stem.removeprefix("run-"): log for log in logs}
    for line in said.splitlines():
        if "ERROR" in line:
            sys.stderr.write(f"{line}\n")
            concerned = re.search(r"ERROR \[[^]]*?([^]/]+)\]", line)
            if concerned and concerned[1] in by_id:
                _mark(by_id[concerned[1]]).unlink(missing_ok=True)


def _check_account() -> None:
    os.environ |= {"WANDB_MODE": "online", "WANDB_SILENT": "true"}
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    try:
        known = wandb.login(prompt=False)
    except Exception as error:
        raise RunError(" ".join(str(error).split())) from error
    if not known:
        raise RunError("no account here: run `wandb login`")


def _mark(log: Path) -> Path:
    return log.with_suffix(".wandb.synced")


def _is_sent(log: Path) -> bool:
    return _mark(log).exists()


def main() -> None:
    """Run the command line; exit 1 if a run was not uploaded, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="unlearn-sync",
        description="Upload the Weights & Biases runs that were kept offline. Uploaded runs are "
        "skipped, so the command can be repeated.",
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders that hold run directories")
    parser.add_argument("--parallel", type=_positive, default=8, help="runs uploaded at a time")
    parser.add_argument(
        "--patience",
        type=_positive,
        default=600,
        help="seconds without an uploaded run before giving up",
    )
    arguments = parser.parse_args()
    with exit_on_error("unlearn-sync"):
        logs = unsent(arguments.folders)
    left = logs
    try:
        left = send(logs, arguments.parallel, arguments.patience) if logs else []
    except RunError as error:
        sys.stderr.write(f"unlearn-sync: {error}\n")
    for log in left:
        print(f"not sent: {log.parent}")
    print(f"{len(logs) - len(left)} of {len(logs)} runs sent")
    sys.exit(1 if left else 0)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
