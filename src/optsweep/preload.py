"""What the server that workers are forked from imports, once: a worker starts in milliseconds."""

import importlib
import signal

from optsweep import imports
from optsweep.server import end_with_launcher

end_with_launcher()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher to answer
imports.begin()
for name in ("torch", "hydra", "hydra_plugins.optsweep._door", "optsweep.worker"):
    importlib.import_module(name)
