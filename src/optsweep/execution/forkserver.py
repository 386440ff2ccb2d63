"""The server that workers are forked from; it imports nothing heavy into its caller.

It starts importing when it is started, on another core while the caller continues its own
imports: that is why it is a file of its own.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from typing import Any

from optsweep.system.cores import cores

_LAUNCHER = "OPTSWEEP_LAUNCHER"  # in the server's environment: the process that it is to end with
_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
# Words after which a sweep may need no server, or one that imports something else too.
_UNLIKE = re.compile(
    r"-(?!m$|-multirun$)|[+~]*(dataset|preset|plan|check|hydra/launcher|hydra.launcher.workers)[=@]"
)


def start_early(arguments: Sequence[str]) -> None:
    """Starts the server where the command line alone says that a sweep needs it.

    So it imports on another core, if there is one, while Hydra is imported and composes.
    """
    is_plain = {"-m", "--multirun"} & set(arguments) and not any(map(_UNLIKE.match, arguments))
    if is_plain and cores() > 1:
        start_server()


def start_server(*modules: str) -> Any:
    """Starts the server that workers are forked from, which imports in the background.

    `modules` are what the runs at hand need beside what all do; a server that runs stays as it is.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["optsweep.execution.preload", *modules])
    os.environ[_LAUNCHER] = str(os.getpid())
    forkserver.ensure_running()
    return context


def open_beside(uri: str, experiment: str) -> None:
    """Has another process open a store, which takes a second where it is new.

    Nobody waits for it: who opens the store next waits for its lock.
    """
    process = start_server().Process(target=_open, args=(uri, experiment), daemon=True)
    # In a thread: it comes back once the server has imported everything.
    threading.Thread(target=process.start, daemon=True).start()


def _open(uri: str, experiment: str) -> None:
    from optsweep.tracking.store import Store

    end_with_parent(os.getppid())
    with suppress(Exception):  # which meets the launcher too
        Store.open(uri, experiment)


def end_with_launcher() -> None:
    """Has the server end with the process that started it."""
    launcher = int(os.environ.pop(_LAUNCHER, os.getppid()))
    if launcher != os.getpid():
        end_with_parent(launcher)


def end_with_parent(parent: int) -> None:
    """Has Linux kill this process as soon as its parent, or the thread that started it, has ended.

    That takes no Python: it works in the middle of a C call that holds the interpreter's lock.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it was asked for
        os.kill(os.getpid(), signal.SIGKILL)
