"""Says of which class pictures are, by a trained model: see --help."""

import sys

from optsweep.cli.commands.predict import main
from optsweep.system.process import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
