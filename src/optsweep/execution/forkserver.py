"""The server that workers are forked from; it imports nothing heavy into its caller.

It starts importing when it is started, on another core while the caller continues its own
imports: that is why it is a file of its own.
"""

import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from typing import Any

_LAUNCHER = "OPTSWEEP_LAUNCHER"  # in the server's environment: the process that it is to end with
_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def start_server(*modules: str) -> Any:
    """Starts the server that workers are forked from, which imports in the background.

    `modules` are what the runs at hand need beside what all do; a server that runs stays as it is.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["optsweep.execution.preload", *modules])
    os.environ[_LAUNCHER] = str(os.getpid())
    forkserver.ensure_running()
    return context


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
