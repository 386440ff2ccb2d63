"""What the server that workers are forked from imports, once: a worker starts in milliseconds."""

import signal

from optsweep.execution.forkserver import end_with_launcher
from optsweep.system import process

end_with_launcher()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher to answer
process.begin()

# After the garbage collector is off.
from optsweep.execution import worker  # noqa: E402, F401
from optsweep.report.figures import picture_grids, run  # noqa: E402, F401
