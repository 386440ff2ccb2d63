"""Makes the report of a sweep again, from what MLflow holds alone: see --help."""

import sys

from optsweep.cli.commands.report import main
from optsweep.system.process import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
