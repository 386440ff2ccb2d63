"""Files, locks, redaction of secrets, hardware and processes: what knows nothing of training."""
