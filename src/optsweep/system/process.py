"""What large libraries cost beside their import itself, kept small.

Importing torch, MLflow and what they need makes some 640,000 objects that live as long as the
process. A full collection looks at all of them, for 0.4 s each time, and several happen while they
are imported. So it is off while libraries are imported, and passes by what they left afterwards.
At the end of the process they are not taken apart one by one, which takes 1.5 s.
"""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def importing() -> Iterator[None]:
    """Keeps the collector off for a block that does little else than import.

    Not for one that composes: what that leaves behind has to be collected as it goes.
    """
    begin()
    try:
        yield
    finally:
        end()


def begin() -> None:
    """Switches the collector off: libraries are about to be imported."""
    gc.disable()


def end() -> None:
    """Switches the collector on again, for all objects that are made from now on."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # what checks for leaks at the end wants everything collected


def leave(code: int) -> NoReturn:
    """Ends the process as `sys.exit` does, and leaves its memory to the system.

    Threads are waited for, what was registered with `atexit` runs, and printed text is flushed.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter ends them
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code)
