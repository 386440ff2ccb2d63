"""The MLflow tracking store: sending what is logged, addresses, and reading runs back.

`store` opens a store, `tracked_run` logs one run, `sending` brings its calls to the store, also
later. `reading` reads sweeps back, `foreign_runs` the runs of other programs.
"""
