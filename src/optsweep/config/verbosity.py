"""What is logged for debugging: `hydra.verbose`, true or the names of loggers."""

import logging
from typing import Any

from optsweep.system.redaction import RedactingFormatter


def shown_from(verbose: Any) -> str:
    """The level from which on a single run's log is shown on the terminal."""
    return "DEBUG" if verbose else "WARNING"


def log_verbosely(hydra: Any) -> tuple[str, ...]:
    """Shows a sweep's log on stderr where `hydra`, Hydra's own config, asks for that.

    Hydra has set the levels in this process, and no handler. Returns the names of the loggers for
    the workers, whose logs lie in the runs' folders; "" stands for all.
    """
    verbose: Any = hydra.verbose
    if not verbose:
        return ()
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    if verbose is True:
        return ("",)
    return (verbose,) if isinstance(verbose, str) else tuple(map(str, verbose))
