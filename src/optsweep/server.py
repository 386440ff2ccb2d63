"""The server that workers are forked from; it imports nothing heavy into its caller.

It starts importing when it is started, on another core while the caller goes on with its own
imports: that is why it is a file of its own.
"""

import multiprocessing
from multiprocessing import forkserver
from typing import Any


def start_server(*modules: str) -> Any:
    """Starts the server that workers are forked from, which imports while the caller goes on.

    `modules` are what the runs at hand need beside what all do; a server that runs stays as it is.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["optsweep.preload", *modules])
    forkserver.ensure_running()
    return context
