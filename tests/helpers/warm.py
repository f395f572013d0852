"""A process that has the libraries imported, and forks itself into each `unlearn` asked for.

Most of a tiny run is the import of torch and scikit-learn. A fork of this process is a process of
its own all the same, with its folder, environment, output and exit status. It ends as Python does,
but that the libraries are not taken down: that, and copying them to do so, takes two seconds.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

IMPORTED = (
    "unlearn.__main__",
    "unlearn.runner.run",
    "unlearn.runner.table",
    "sklearn.datasets",
    "torch._dynamo",  # what torch imports at the first optimizer
)


def become(call: dict[str, Any]) -> NoReturn:
    """Run one command line in this process, which was forked for it."""
    signal.alarm(call["seconds"])
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, call["stdout"], os.O_WRONLY),
        (2, call["stderr"], os.O_WRONLY),
    ):
        os.dup2(os.open(path, flags), descriptor)
    entry = importlib.import_module("unlearn.__main__")
    sys.argv = [str(entry.__file__), *call["arguments"]]
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [call["folder"], *filter(None, own)]  # as `python -m` has it
    status = status_of(entry.main)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def status_of(program: Callable[[], None]) -> int:
    """Run a program to its end, and give the exit status that Python would."""
    try:
        program()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Answer each line on stdin, a call in JSON, with a line: the exit status of its process."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        process = os.fork()
        if process == 0:
            become(json.loads(line))
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
