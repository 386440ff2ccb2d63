"""Sends what a tracking server that was away could not take: see --help."""

import sys

from optsweep.cli.commands.sync import main
from optsweep.system.process import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
