"""Where processes start and stop: local processes, Slurm and Ray behind one interface.

`executor` is the interface, `factory` makes the one that the settings ask for. `worker` is what
happens in a worker process; `pending_tasks` holds the tasks of a cluster.
"""
