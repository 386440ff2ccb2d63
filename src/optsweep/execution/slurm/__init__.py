"""Jobs of a Slurm cluster, by submitit."""
