"""Judges tables of scores, from whatever program: see --help."""

import sys

from optsweep.cli.commands.verdict import main
from optsweep.system.process import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
