"""`unlearn-sync`: sends the Weights & Biases runs that were kept offline, each once."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from unlearn.errors import RunError, UnlearnError

_AT_ONCE = 50  # runs that one `wandb sync` is given
_LOOK_EVERY = 0.2  # seconds


def unsent(folders: Iterable[Path]) -> list[Path]:
    """The logs of finished runs under some folders that the server has not got whole.

    A run on its way, or cut off, lies in a hidden folder and is left there.

    Raises:
        UnlearnError: if there is no such folder.
    """
    found = set()
    for folder in folders:
        if not folder.is_dir():
            raise UnlearnError(f"{folder}: no such folder")
        for log in folder.rglob("*.wandb"):
            hidden = any(part.startswith(".") for part in log.relative_to(folder).parts)
            if not hidden and not log.parent.is_symlink():
                found.add(log.resolve())
    return sorted(log for log in found if not _is_sent(log))


def mark_sent(log: Path) -> None:
    """Leave the mark that `wandb sync` leaves beside a log that the server has got whole."""
    _mark(log).touch()


def send(logs: list[Path], parallel: int, patience: int) -> list[Path]:
    """Send runs, and go on after one that cannot be sent, but not after 50 of them.

    Args:
        logs: of the runs.
        parallel: runs at a time.
        patience: seconds without a run sent after which it is given up.

    Returns:
        The logs that were not sent.

    Raises:
        RunError: if the server does not answer, or knows no such account.
    """
    _check_account()
    for first in range(0, len(logs), _AT_ONCE):
        if not _send_any(logs[first : first + _AT_ONCE], parallel, patience):
            break
    return [log for log in logs if not _is_sent(log)]


def _send_any(logs: list[Path], parallel: int, patience: int) -> bool:
    """Send what can be sent of these; whether that is anything.

    wandb sends none of the runs that it is given if it cannot read one of them, and does not say
    so by its exit status: that one is found by halving.
    """
    gave_up = _sync(logs, parallel, patience)
    if gave_up or len(logs) == 1 or any(map(_is_sent, logs)):
        return any(map(_is_sent, logs))
    half = len(logs) // 2
    sent = [_send_any(part, parallel, patience) for part in (logs[:half], logs[half:])]
    return any(sent)


def _sync(logs: list[Path], parallel: int, patience: int) -> bool:
    """Let wandb send some runs; whether it was ended because none had arrived for too long."""
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
    """Wait for the process; whether it had to be killed for want of progress."""
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
    """Pass on wandb's errors; take away the marks that it left on runs in spite of one."""
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
    """Run the command line; exit 1 if a run was not sent, 2 for the user's mistakes."""
    parser = argparse.ArgumentParser(
        prog="unlearn-sync",
        description="Send the Weights & Biases runs that were kept offline. Those that were sent "
        "are skipped, so that it can be called again at any time.",
    )
    parser.add_argument("folders", type=Path, nargs="+", help="that hold run directories")
    parser.add_argument("--parallel", type=_positive, default=8, help="runs at a time")
    parser.add_argument(
        "--patience", type=_positive, default=600, help="seconds without a run sent, then give up"
    )
    arguments = parser.parse_args()
    try:
        logs = unsent(arguments.folders)
    except UnlearnError as error:
        sys.stderr.write(f"unlearn-sync: {error}\n")
        sys.exit(2)
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
