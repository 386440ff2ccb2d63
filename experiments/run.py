"""Trains one run, or sweeps many, as the command line says: see --help."""

if __name__ == "__main__":  # a worker imports this file too: it has no need of Hydra
    import sys

    from optsweep.execution.forkserver import start_early
    from optsweep.system.process import leave

    start_early(sys.argv[1:])
    from optsweep.cli.main import main

    leave(main())
