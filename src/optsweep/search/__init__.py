"""Searches: their space, their study in Optuna, and pruning."""
