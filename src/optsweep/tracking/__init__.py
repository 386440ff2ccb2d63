"""The MLflow tracking store: calls, the outbox, addresses, and reading sweeps back."""
