"""What the server that workers are forked from imports, once: a worker starts in milliseconds."""

import importlib
import signal

from optsweep.execution.forkserver import end_with_launcher
from optsweep.system import process as imports

end_with_launcher()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher to answer
imports.begin()
for name in ("torch", "hydra", "optsweep.cli.main", "optsweep.execution.worker"):
    importlib.import_module(name)
