"""Trains one run, or sweeps many, as the command line says: see --help."""

if __name__ == "__main__":  # a worker imports this file too: it has no need of Hydra
    from optsweep.cli.main import main
    from optsweep.system.process import leave

    leave(main())
