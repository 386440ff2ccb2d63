"""Where processes start and stop: local processes, Slurm and Ray behind one interface."""
