"""The garbage collector, kept out of the way of imports.

Importing torch, MLflow and what they need makes some 640,000 objects that live as long as the
process. A full collection looks at all of them, for 0.4 s each time, and several happen while they
are imported. So it is off while libraries are imported, and passes by what they left afterwards.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
