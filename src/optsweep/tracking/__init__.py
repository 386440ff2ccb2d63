"""The MLflow tracking store: calls, the outbox, addresses, and reading sweeps back.

`store` opens a store, `tracked_run` logs one run, `calls` sends a call. What a store does not
accept waits in the `outbox`, which `delivery` sends later. `reading` reads sweeps back.
"""
