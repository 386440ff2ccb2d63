"""How calls reach the store: one call, the outbox of those that wait, and their delivery."""
